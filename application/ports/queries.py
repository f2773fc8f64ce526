"""Reads, as a port: by key and as lists, outside of any transaction.

Every answer shows the state at or after the moment of the call, except where a port says otherwise.
All of it raises `domain.errors.Unavailable` when the database does not answer.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol, TypeVar

from application.ports.passwords import PasswordHash
from domain.events import Event, EventId
from domain.one_time_codes import OneTimeCode
from domain.pages import Page
from domain.policies import Visibility
from domain.posts import Post, PostId
from domain.search import Term
from domain.sessions import Session, SessionId
from domain.users import User, UserId

P = TypeVar("P")


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    user: User
    password: PasswordHash = field(repr=False)


@dataclass(slots=True, kw_only=True)
class PostDetails:
    """A post as one viewer sees it at one moment."""

    post: Post
    visibility: Visibility
    """`Post.visibility` at that moment."""
    owner_name: str | None
    votes: int
    voted: bool
    """Whether the viewer voted for it."""


class Sort(StrEnum):
    NEWEST = "newest"
    OLDEST = "oldest"
    TOP = "top"
    """Most votes first; of as many, the newest."""

    def key(self, details: PostDetails) -> tuple[int, ...]:
        """The sort key of a post: a page that follows it begins behind this key."""
        post_id = details.post.id
        return (details.votes, post_id) if self is Sort.TOP else (post_id,)


@dataclass(frozen=True, slots=True, kw_only=True)
class PostList:
    """Which posts to list, and for whom: at most `limit`, from behind the sort key `after`."""

    viewer: User
    limit: int
    after: tuple[int, ...] | None = None
    sort: Sort = Sort.NEWEST
    owner_id: UserId | None = None
    published: bool | None = None
    terms: tuple[Term, ...] = ()
    """Only posts that contain all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventList:
    """Which events to list: at most `limit`, from behind the sort key `after`. None: any."""

    limit: int
    after: tuple[int, ...] | None = None
    actor_id: UserId | None = None
    subject: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """An event as it was recorded, and the request that it came with."""

    id: EventId
    event: Event
    request_id: str | None
    ip: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshLookup:
    """The session of a refresh token, and its user."""

    session: Session
    user: User
    is_rotated: bool
    """Whether the token was used before. Using it again means that it was stolen."""


class PostQueries(Protocol):
    """Reads that a replica can serve.

    An answer may be some seconds behind the changes of others, but shows every change that its
    viewer made in a unit of work that was opened with them as the author. `now` is the moment that
    visibility is resolved at.
    """

    async def post(self, post_id: PostId, viewer: User, now: datetime) -> PostDetails | None:
        """The post, whether the viewer may read it or not."""
        ...

    async def posts(self, wanted: PostList, now: datetime) -> Page[PostDetails]:
        """Only posts that the viewer may read. Raises `InvalidCursor` for a key of another form.

        A page is never read from an older snapshot than the page before it, so paging never skips a
        post that existed all along.
        """
        ...


class Queries(PostQueries, Protocol):
    def of(self, port: type[P], /) -> P:
        """What keeps this port: the reads of a concept that has none here."""
        ...

    async def session_user(self, session_id: SessionId) -> tuple[Session, User] | None: ...

    async def sessions(self, user_id: UserId, now: datetime) -> list[Session]:
        """The user's sessions that go on at `now`, the one used last first."""
        ...

    async def refresh_lookup(self, refresh_hash: str) -> RefreshLookup | None:
        """None for the hash of what never was a refresh token."""
        ...

    async def user(self, user_id: UserId) -> User | None: ...

    async def users(self, limit: int, after: tuple[int, ...] | None) -> Page[User]:
        """All users, newest first. Raises `InvalidCursor` for a key of another form."""
        ...

    async def by_identity(self, issuer: str, subject: str) -> User | None:
        """The user that an outside provider knows by this name."""
        ...

    async def credentials(self, email: str) -> Credentials | None:
        """Addresses compare without case."""
        ...

    async def has_logged_in_from(self, user_id: UserId, network: str) -> bool:
        """Whether one of the user's sessions that are kept began in this `network_of` addresses."""
        ...

    async def code(self, code_hash: str) -> tuple[OneTimeCode, User] | None:
        """The code with this hash, expired or not, and its user."""
        ...

    async def events(self, wanted: EventList) -> Page[AuditEntry]:
        """What was recorded, newest first. Raises `InvalidCursor` for a key of another form."""
        ...

    async def ready(self) -> list[str]:
        """What keeps the storage from serving, one name each (`database`, `migrations`)."""
        ...
