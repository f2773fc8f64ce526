"""Posts: row, mapping and repository."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import (
    Index,
    and_,
    bindparam,
    column,
    delete,
    exists,
    func,
    insert,
    select,
    update,
)
from sqlmodel import Field

from application.ports.queries import PostDetails
from domain.posts import NewPost, Post, PostChanged, PostId
from domain.users import UserId
from infrastructure.database.driver.lookups import Lookup, lookup
from infrastructure.database.driver.rows import IDS, BigId, Row, identity, moment, reference, table
from infrastructure.database.driver.statements import Database, Record, Transaction
from infrastructure.database.users import USERS
from infrastructure.database.votes import VOTES


class PostRow(Row, table=True):
    __tablename__ = "posts"
    __table_args__ = (
        Index(None, "owner_id", "id"),
        Index(None, "votes", "id"),
        {"sqlite_autoincrement": True},
    )

    id: int | None = identity()
    owner_id: int = reference("users.id")
    title: str
    content: str
    published: bool
    created_at: datetime = moment()
    updated_at: datetime = moment()
    version: int
    votes: int = Field(sa_column_kwargs={"server_default": "0"})


POSTS = table(PostRow)

POST_COLUMNS = (
    POSTS.c.id,
    POSTS.c.owner_id,
    POSTS.c.title,
    POSTS.c.content,
    POSTS.c.published,
    POSTS.c.created_at,
    POSTS.c.updated_at,
    POSTS.c.version,
)

SEEN = select(
    *POST_COLUMNS,
    USERS.c.name,
    POSTS.c.votes,
    exists()
    .where(VOTES.c.post_id == POSTS.c.id, VOTES.c.user_id == bindparam("viewer"))
    .label("voted"),
).join(USERS, USERS.c.id == POSTS.c.owner_id)

_BY_ID = SEEN.where(POSTS.c.id == bindparam("id"))
WANTED = (
    func.unnest(bindparam("id", type_=IDS), bindparam("viewer", type_=IDS))
    .table_valued(column("post_id", BigId), column("viewer_id", BigId), name="wanted")
    .render_derived()
)
BY_IDS = (
    select(
        WANTED.c.post_id,
        WANTED.c.viewer_id,
        *POST_COLUMNS,
        USERS.c.name,
        POSTS.c.votes,
        VOTES.c.user_id.is_not(None).label("voted"),
    )
    .select_from(WANTED)
    .join(POSTS, POSTS.c.id == WANTED.c.post_id)
    .join(USERS, USERS.c.id == POSTS.c.owner_id)
    .outerjoin(VOTES, and_(VOTES.c.post_id == POSTS.c.id, VOTES.c.user_id == WANTED.c.viewer_id))
)
_LOCK = _BY_ID.with_for_update(of=POSTS)
_LOCK_OWNER = (
    select(USERS.c.id).where(USERS.c.id == bindparam("owner_id")).with_for_update(key_share=True)
)
_LATEST = (
    select(POSTS.c.created_at, POSTS.c.id)
    .where(POSTS.c.owner_id == bindparam("owner_id"))
    .order_by(POSTS.c.id.desc())
    .limit(bindparam("limit", type_=BigId))
    .subquery()
)
_WRITTEN = (
    select(_LATEST.c.created_at)
    .where(_LATEST.c.created_at > bindparam("since"))
    .order_by(_LATEST.c.id.desc())
)
_ADD = (
    insert(POSTS)
    .values(
        id=bindparam("id"),
        owner_id=bindparam("owner_id"),
        title=bindparam("title"),
        content=bindparam("content"),
        published=bindparam("published"),
        created_at=bindparam("created_at"),
        updated_at=bindparam("created_at"),
        version=1,
    )
    .returning(POSTS.c.id)
)
_SAVE = (
    update(POSTS)
    .values(
        title=bindparam("new_title"),
        content=bindparam("new_content"),
        published=bindparam("new_published"),
        updated_at=bindparam("new_updated_at"),
        version=bindparam("new_version"),
    )
    .where(POSTS.c.id == bindparam("key"), POSTS.c.version == bindparam("new_version") - 1)
    .returning(POSTS.c.id)
)
_REMOVE = (
    delete(POSTS)
    .where(POSTS.c.id == bindparam("key"), POSTS.c.version == bindparam("known_version"))
    .returning(POSTS.c.id)
)


def post_of(record: Record) -> Post:
    """The post in the `POST_COLUMNS` of a record."""
    id_, owner_id, title, content, published, created_at, updated_at, version = record
    return Post(
        id=PostId(id_),
        owner_id=UserId(owner_id),
        title=title,
        content=content,
        published=published,
        created_at=created_at,
        updated_at=updated_at,
        version=version,
    )


def post_details_of(record: Record) -> PostDetails:
    width = len(POST_COLUMNS)
    owner_name, votes, voted = record[width:]
    return PostDetails(
        post=post_of(record[:width]), owner_name=owner_name, votes=votes, voted=voted
    )


def post_lookup(database: Database) -> Lookup:
    """Finds the post with an id, as seen by the user with another."""
    return lookup(database, one=_BY_ID, many=BY_IDS, key=["id", "viewer"])


class SqlPosts:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def add(self, post: NewPost) -> Post:
        new_id = await self._transaction.add(
            _ADD,
            owner_id=post.owner_id,
            title=post.title,
            content=post.content,
            published=post.published,
            created_at=post.created_at,
        )
        return Post(
            id=PostId(new_id),
            owner_id=post.owner_id,
            title=post.title,
            content=post.content,
            published=post.published,
            created_at=post.created_at,
            updated_at=post.created_at,
            version=1,
        )

    async def get(self, post_id: PostId, viewer: UserId) -> PostDetails | None:
        records = await self._transaction.fetch(_LOCK, id=post_id, viewer=viewer)
        return post_details_of(records[0]) if records else None

    async def written(self, owner: UserId, since: datetime, limit: int) -> Sequence[datetime]:
        # Two statements: one sees what was committed before it began to wait.
        await self._transaction.fetch(_LOCK_OWNER, owner_id=owner)
        records = await self._transaction.fetch(_WRITTEN, owner_id=owner, since=since, limit=limit)
        return [created_at for (created_at,) in records]

    async def save(self, post: Post) -> None:
        saved = await self._transaction.fetch(
            _SAVE,
            key=post.id,
            new_title=post.title,
            new_content=post.content,
            new_published=post.published,
            new_updated_at=post.updated_at,
            new_version=post.version,
        )
        if not saved:
            raise PostChanged

    async def remove(self, post: Post) -> None:
        if not await self._transaction.fetch(_REMOVE, key=post.id, known_version=post.version):
            raise PostChanged
