"""Full-text search of posts, in indexes that triggers keep up to date.

The title and the content of a post are indexed as one text.
"""

from collections.abc import Sequence

from sqlalchemy import Dialect, TextClause, func, select, text

from domain.search import Term
from infrastructure.database.driver.statements import Database

_MATCHES = "posts_search WHERE words @@ to_tsquery('simple', CAST(:words AS text))"
_FOUND = {
    "postgresql": text(f"posts.id IN (SELECT post_id FROM {_MATCHES})"),  # noqa: S608  constants
    "sqlite": text("posts.id IN (SELECT rowid FROM posts_search WHERE posts_search MATCH :words)"),
}
_FEW = text(f"posts.id = ANY (ARRAY(SELECT post_id FROM {_MATCHES}))")  # noqa: S608  constants
_FEW_MAX = 1000
_COUNT = select(func.count()).select_from(
    text(f"(SELECT FROM {_MATCHES} LIMIT {_FEW_MAX + 1}) AS matches")
)


def found(dialect: Dialect, *, few: bool = False) -> TextClause:
    """The condition that a post matches the parameter `words`. On PostgreSQL it is read from the
    index of words first if there are `few` such posts.
    """
    return _FEW if few else _FOUND[dialect.name]


async def finds_few(database: Database, terms: Sequence[Term], reader: int) -> bool:
    """Whether PostgreSQL should begin with the index of words.

    It takes a word that is not in its statistics to be in 0.5 % of the posts, and then prefers to
    walk the posts by id until it has a page. That is right for a word of many posts alone.
    """
    if not database.is_remote:
        return False
    matching = words(terms, database.dialect)
    ((number,),) = await database.fetch_long(_COUNT, reader=reader, words=matching)
    return bool(number <= _FEW_MAX)


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
