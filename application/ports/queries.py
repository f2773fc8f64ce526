"""Reads, as a port: by key and as lists, outside of transactions.

A result shows the state at or after the time of the call, unless a port says otherwise. Every
method raises `domain.errors.Unavailable` if the database does not answer.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum  # posts only
from typing import Protocol, TypeVar

from application.ports.passwords import PasswordHash
from domain.events import Event, EventId
from domain.one_time_codes import OneTimeCode
from domain.pages import Page
from domain.policies import Visibility  # posts only
from domain.posts import Post, PostId  # posts only
from domain.search import Term  # posts only
from domain.sessions import RefreshChain, Session, SessionId
from domain.users import User, UserId

P = TypeVar("P")


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    user: User
    password: PasswordHash = field(repr=False)


@dataclass(slots=True, kw_only=True)  # posts only
class PostDetails:
    """A post as one viewer sees it at a given time."""

    post: Post
    visibility: Visibility
    """`Post.visibility` at that time."""
    owner_name: str | None
    votes: int
    voted: bool
    """Whether the viewer voted for it."""


class Sort(StrEnum):  # posts only
    NEWEST = "newest"
    OLDEST = "oldest"
    TOP = "top"
    """Most votes first; with equal votes, newest first."""

    def key(self, details: PostDetails) -> tuple[int, ...]:
        """The sort key of a post. The page that follows the post starts after this key."""
        post_id = details.post.id
        return (details.votes, post_id) if self is Sort.TOP else (post_id,)


@dataclass(frozen=True, slots=True, kw_only=True)  # posts only
class PostList:
    """A list of posts for `viewer`: at most `limit` posts, after the sort key `after`."""

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
    """A list of events: at most `limit`, after the sort key `after`. None matches any value."""

    limit: int
    after: tuple[int, ...] | None = None
    actor_id: UserId | None = None
    subject: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """A recorded event, with the id and the client address of its request."""

    id: EventId
    event: Event
    request_id: str | None
    ip: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshLookup:
    """The session of a refresh token, and its user."""

    session: Session
    user: User
    chain: RefreshChain

    @property
    def is_rotated(self) -> bool:
        """Whether the token was used before."""
        return self.chain.rotated_at is not None


class PostQueries(Protocol):  # posts only
    """Reads that a replica can serve.

    A result may lag some seconds behind the changes of other users. It shows every change that was
    committed with the viewer's tokens before the request. `now` decides visibility.
    """

    async def post(self, post_id: PostId, viewer: User, now: datetime) -> PostDetails | None:
        """The post, whether the viewer may read it or not."""
        ...

    async def posts(self, wanted: PostList, now: datetime) -> Page[PostDetails]:
        """The posts that the viewer may read. Raises `InvalidCursor` for a malformed key.

        A page is never read from an older snapshot than the page before it, so paging never skips a
        post that existed all along.
        """
        ...


class Queries(
    PostQueries,  # posts only
    Protocol,
):
    def of(self, port: type[P], /) -> P:
        """The adapter of this port: for concepts whose reads are not listed here."""
        ...

    async def session_user(self, session_id: SessionId) -> tuple[Session, User] | None: ...

    async def sessions(self, user_id: UserId, now: datetime) -> list[Session]:
        """The user's live sessions at `now`, most recently used first."""
        ...

    async def refresh_lookup(self, refresh_hash: str) -> RefreshLookup | None:
        """None if there never was a refresh token with this hash."""
        ...

    async def user(self, user_id: UserId) -> User | None: ...

    async def users(self, limit: int, after: tuple[int, ...] | None) -> Page[User]:
        """All users, newest first. Raises `InvalidCursor` for a malformed key."""
        ...

    async def by_identity(self, issuer: str, subject: str) -> User | None:
        """The user with this identity at an outside provider."""
        ...

    async def credentials(self, email: str) -> Credentials | None:
        """The user with this address, compared by `email_key`, and their password's hash."""
        ...

    async def has_logged_in_from(self, user_id: UserId, network: str) -> bool:
        """Whether one of the user's stored sessions started in this network (`network_of`)."""
        ...

    async def is_new_network(self, user_id: UserId, network: str) -> bool:
        """Whether the user has logged in before, and no stored session started in this network."""
        ...

    async def code(self, code_hash: str) -> tuple[OneTimeCode, User] | None:
        """The code with this hash, expired or not, and its user."""
        ...

    async def events(self, wanted: EventList) -> Page[AuditEntry]:
        """The recorded events, newest first. Raises `InvalidCursor` for a malformed key."""
        ...

    async def ready(self) -> list[str]:
        """The names of the parts that are down: `database`, `migrations`. Empty if ready."""
        ...
