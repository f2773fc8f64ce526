"""Full-text search of posts, in indexes that triggers keep up to date.

The title and the content of a post are indexed as one text.
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
    """The condition that a post matches the parameter `words`."""
    return _FOUND[dialect.name]


def words(terms: Sequence[Term], dialect: Dialect) -> str:
    """The value of the parameter `words`: `terms` as a query of the database.

    A word consists of letters, digits and marks, so it never contains an operator of the query.
    """
    if dialect.name == "postgresql":
        return " & ".join(
            " <-> ".join(f"'{word}'" for word in term.words) + (":*" if term.prefix else "")
            for term in terms
        )
    return " AND ".join(
        f'"{" ".join(term.words)}"' + (" *" if term.prefix else "") for term in terms
    )
