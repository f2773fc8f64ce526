"""Lists of posts: one statement for each combination of order and filters."""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from itertools import accumulate
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Dialect,
    FromClause,
    Integer,
    Select,
    TextClause,
    bindparam,
    case,
    or_,
    tuple_,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from application.ports.queries import PostDetails, PostList, Sort
from domain.pages import LIMIT_MAX, PAGE_BYTES, InvalidCursor, Page, page_length
from domain.policies import is_moderator
from infrastructure.database import search
from infrastructure.database.driver.rows import BigId
from infrastructure.database.driver.statements import Database, Record
from infrastructure.database.posts import DETAILS, POSTS, PUBLIC, post_details_of


class _ByteLength(FunctionElement[int]):
    """The bytes of a text. PostgreSQL knows them without reading a long one."""

    inherit_cache = True
    type = Integer()


@compiles(_ByteLength, "postgresql")
def _on_postgresql(element: _ByteLength, compiler: Any, **options: Any) -> str:
    return f"octet_length({compiler.process(element.clauses, **options)})"


@compiles(_ByteLength, "sqlite")
def _on_sqlite(element: _ByteLength, compiler: Any, **options: Any) -> str:
    # Its own octet_length is of 3.43, and Debian 12 has 3.40.
    return f"length(CAST({compiler.process(element.clauses, **options)} AS BLOB))"


def in_order(sort: Sort, posts: FromClause) -> tuple[ColumnElement[Any], ...]:
    """The ORDER BY for `posts`, which has the columns `id` and `votes`."""
    if sort is Sort.TOP:
        return posts.c.votes.desc(), posts.c.id.desc()
    return (posts.c.id.asc() if sort is Sort.OLDEST else posts.c.id.desc(),)


_SIZE = _ByteLength(POSTS.c.content)
_TEXT = case((bindparam("longest", type_=BigId) >= _SIZE, POSTS.c.content)).label("content")
_LISTED = DETAILS.with_only_columns(
    *(_TEXT if column is POSTS.c.content else column for column in DETAILS.selected_columns), _SIZE
)
"""As `DETAILS`, with the size of the content, which is None where it is over `longest` bytes."""
_size_of = itemgetter(-1)

_SHORT = PAGE_BYTES // LIMIT_MAX
_ANY_LENGTH = 2**62

_AFTER = [bindparam(f"after_{part}", type_=BigId) for part in range(2)]
_BEHIND: dict[Sort, ColumnElement[bool]] = {
    Sort.NEWEST: POSTS.c.id < _AFTER[0],
    Sort.OLDEST: POSTS.c.id > _AFTER[0],
    Sort.TOP: tuple_(POSTS.c.votes, POSTS.c.id) < tuple_(*_AFTER),
}


@cache
def _page(
    sort: Sort,
    *,
    after: bool,
    owner: bool,
    published: bool,
    drafts_of_others: bool,
    found: TextClause | None,
) -> Select[Any]:
    """One statement for each combination of what a list may be asked for."""
    statement = _LISTED.order_by(*in_order(sort, POSTS)).limit(bindparam("limit", type_=BigId))
    if after:
        statement = statement.where(_BEHIND[sort])
    if found is not None:
        statement = statement.where(found)
    if owner:
        statement = statement.where(POSTS.c.owner_id == bindparam("owner_id"))
    if published:
        statement = statement.where(bindparam("published", type_=Boolean) == PUBLIC)
    if not drafts_of_others:
        statement = statement.where(or_(PUBLIC, POSTS.c.owner_id == bindparam("viewer")))
    return statement


async def posts(database: Database, wanted: PostList, now: datetime) -> Page[PostDetails]:
    """A page that never loads much more than `PAGE_BYTES` of content, however long the posts are.

    The first query brings short posts only, and the sizes of all. Where there are longer ones, the
    second brings as many posts as fit.
    """
    terms = wanted.terms
    few = bool(terms) and await search.finds_few(database, terms, wanted.viewer.id)
    statement, values = page_query(wanted, now, database.dialect, few=few)
    records = await database.fetch_long(statement, reader=wanted.viewer.id, **values)
    if any_is_long(records):
        sizes = accumulate(map(_size_of, records))
        limit = next((n for n, size in enumerate(sizes, 1) if size >= PAGE_BYTES), wanted.limit)
        limit = min(limit, wanted.limit)
        values |= {"limit": limit + 1, "longest": _ANY_LENGTH}
        records = await database.fetch_long(statement, reader=wanted.viewer.id, **values)
    return page_of(wanted, now, records)


def any_is_long(records: Sequence[Record]) -> bool:
    """Whether a post of the page came without its content."""
    return max(map(_size_of, records), default=0) > _SHORT


def page_query(
    wanted: PostList, now: datetime, dialect: Dialect, *, few: bool = False
) -> tuple[Select[Any], dict[str, Any]]:
    """The statement and the values of its parameters. Raises `InvalidCursor`.

    `few`: whether there are few posts that match the terms.
    """
    after = wanted.after or ()
    if wanted.after is not None and len(after) != len(in_order(wanted.sort, POSTS)):
        raise InvalidCursor
    statement = _page(
        wanted.sort,
        after=wanted.after is not None,
        owner=wanted.owner_id is not None,
        published=wanted.published is not None,
        drafts_of_others=is_moderator(wanted.viewer),
        found=search.found(dialect, few=few) if wanted.terms else None,
    )
    return statement, {
        "viewer": wanted.viewer.id,
        "now": now,
        "limit": wanted.limit + 1,
        "longest": _SHORT,
        "owner_id": wanted.owner_id,
        "published": wanted.published,
        "words": search.words(wanted.terms, dialect),
        **{f"after_{part}": value for part, value in enumerate(after)},
    }


def page_of(wanted: PostList, now: datetime, records: Sequence[Record]) -> Page[PostDetails]:
    items = [post_details_of(record, now) for record in records[: wanted.limit]]
    items = items[: page_length([item.post.content.content for item in items])]
    more = len(records) > len(items)
    return Page(items, next=wanted.sort.key(items[-1]) if more else None)
