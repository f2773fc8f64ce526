"""Full-text search: what is found by the index that each database keeps by itself, by triggers.

The title and the content of a post are one text.
"""

from collections.abc import Sequence

from sqlalchemy import Dialect, TextClause, text

from domain.search import Term

_FOUND = {
    "postgresql": text(
        "posts.id IN (SELECT post_id FROM posts_search"
        " WHERE words @@ to_tsquery('simple', CAST(:words AS text)))"
    ),
    "sqlite": text("posts.id IN (SELECT rowid FROM posts_search WHERE posts_search MATCH :words)"),
}


def found(dialect: Dialect) -> TextClause:
    """The condition that a post has the words in the parameter `words`."""
    return _FOUND[dialect.name]


def words(terms: Sequence[Term], dialect: Dialect) -> str:
    """The value of that parameter. Words have letters, digits and marks alone: nothing in them
    can be mistaken for more than a word.
    """
    if dialect.name == "postgresql":
        return " & ".join(
            " <-> ".join(f"'{word}'" for word in term.words) + (":*" if term.prefix else "")
            for term in terms
        )
    return " AND ".join(
        f'"{" ".join(term.words)}"' + (" *" if term.prefix else "") for term in terms
    )
