"""Posts: row, mapping and repository."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import (
    ColumnElement,
    Index,
    and_,
    bindparam,
    column,
    exists,
    func,
    literal_column,
    select,
)

from application.ports.queries import PostDetails
from application.ports.storage import Posts
from domain.posts import POST_WRITTEN, Post, PostChanged, PostId
from domain.users import UserId
from infrastructure.database.driver.exported import OWNER, Exported
from infrastructure.database.driver.lookups import Lookup, lookup
from infrastructure.database.driver.mapping import Mapping, Repository
from infrastructure.database.driver.rows import (
    IDS,
    BigId,
    Row,
    primary_key,
    reference,
    server_default,
    timestamp_column,
)
from infrastructure.database.driver.statements import Database, Record
from infrastructure.database.events import EVENTS
from infrastructure.database.users import OPEN, USERS
from infrastructure.database.votes import VOTES


class PostRow(Row, table=True):
    __tablename__ = "posts"
    __table_args__ = (
        Index(None, "owner_id", "id"),
        Index(None, "votes", "id"),
        {"sqlite_autoincrement": True},
    )

    id: int | None = primary_key()
    owner_id: int = reference("users.id")
    title: str
    content: str
    published: bool
    created_at: datetime = timestamp_column()
    updated_at: datetime = timestamp_column()
    version: int
    votes: int = server_default("0")


POST = Mapping(PostRow, Post)
POSTS = POST.table
EXPORTED = (
    Exported(
        "posts",
        [
            POSTS.c.id,
            POSTS.c.title,
            POSTS.c.content,
            POSTS.c.published,
            POSTS.c.created_at,
            POSTS.c.updated_at,
            POSTS.c.version,
            POSTS.c.votes,
        ],
        owned=POSTS.c.owner_id == OWNER,
        key=POSTS.c.id,
    ),
)

PUBLIC: ColumnElement[bool] = POSTS.c.published
"""`Post.visibility` in SQL: whether it is PUBLIC at the time `now`."""

AUTHOR = and_(USERS.c.id == POSTS.c.owner_id, OPEN)
"""The author of a post. The posts of a user who was removed are there until they are deleted."""

DETAILS = select(
    *POST.columns,
    USERS.c.name,
    POSTS.c.votes,
    exists()
    .where(VOTES.c.post_id == POSTS.c.id, VOTES.c.user_id == bindparam("viewer"))
    .label("voted"),
).join(USERS, AUTHOR)
_NAME, _VOTES, _VOTED = range(len(POST.columns), len(POST.columns) + 3)

_BY_ID = DETAILS.where(POSTS.c.id == bindparam("id"))
WANTED = (
    func.unnest(bindparam("id", type_=IDS), bindparam("viewer", type_=IDS))
    .table_valued(column("post_id", BigId), column("viewer_id", BigId), name="wanted")
    .render_derived()
)
BY_IDS = (
    select(
        WANTED.c.post_id,
        WANTED.c.viewer_id,
        *POST.columns,
        USERS.c.name,
        POSTS.c.votes,
        VOTES.c.user_id.is_not(None).label("voted"),
    )
    .select_from(WANTED)
    .join(POSTS, POSTS.c.id == WANTED.c.post_id)
    .join(USERS, AUTHOR)
    .outerjoin(VOTES, and_(VOTES.c.post_id == POSTS.c.id, VOTES.c.user_id == WANTED.c.viewer_id))
)
_LOCK = _BY_ID.with_for_update(of=POSTS)
_LOCK_AUTHOR = (
    select(USERS.c.id).where(USERS.c.id == bindparam("author")).with_for_update(key_share=True)
)
# Written into the statement, since a partial index is used only where the planner sees the value.
_POST_WRITTEN: ColumnElement[str] = literal_column(f"'{POST_WRITTEN}'")
_LATEST = (
    select(EVENTS.c.at, EVENTS.c.id)
    .where(EVENTS.c.actor_id == bindparam("author"), EVENTS.c.name == _POST_WRITTEN)
    .order_by(EVENTS.c.id.desc())
    .limit(bindparam("limit", type_=BigId))
    .subquery()
)
_RECENT_TIMES = (
    select(_LATEST.c.at).where(_LATEST.c.at > bindparam("since")).order_by(_LATEST.c.id.desc())
)


def post_details_of(record: Record, now: datetime) -> PostDetails:
    """The post in a record that begins with the columns of `DETAILS`, as it is seen at `now`."""
    post = POST.of(record)
    return PostDetails(
        post=post,
        visibility=post.visibility(now),
        owner_name=record[_NAME],
        votes=record[_VOTES],
        voted=record[_VOTED],
    )


def post_lookup(database: Database) -> Lookup:
    """Finds the post with an id, as seen by the user with another."""
    return lookup(database, one=_BY_ID, many=BY_IDS, key=["id", "viewer"])


class SqlPosts(Repository[Post], Posts):
    mapping = POST
    stale = PostChanged

    async def details(self, post_id: PostId, viewer: UserId, now: datetime) -> PostDetails | None:
        record = await self._transaction.find(post_lookup, _LOCK, id=post_id, viewer=viewer)
        return None if record is None else post_details_of(record, now)

    async def recent_post_times(
        self, author: UserId, since: datetime, limit: int
    ) -> Sequence[datetime]:
        # Two statements: a statement sees only what was committed before it began, and the first
        # one may wait.
        await self._transaction.fetch(_LOCK_AUTHOR, author=author)
        records = await self._transaction.fetch(
            _RECENT_TIMES, author=author, since=since, limit=limit
        )
        return [at for (at,) in records]
