"""Changes, as a port: units of work and their repositories.

All of it raises `domain.errors.Unavailable` when the database does not answer, and its kind
`SerializationFailure` when it refuses because of what others do at the same time.
"""

from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import NewType, Protocol, TypeVar

from application.ports.idempotency import Idempotency
from application.ports.passwords import PasswordHash
from application.ports.queries import Credentials, PostDetails
from application.request_info import RequestInfo
from domain.errors import Unavailable
from domain.events import Event
from domain.one_time_codes import OneTimeCode, Purpose
from domain.posts import NewPost, Post, PostId
from domain.sessions import NewSession, Session, SessionId
from domain.users import NewUser, User, UserId

OutboxMessageId = NewType("OutboxMessageId", int)
BUSY_HOSTS_MAX = 4


class SerializationFailure(Unavailable):
    """What others do at the same time can't be brought into one order with it. Nothing was done,
    and the whole may be run again: `application.retries` does so.
    """

    detail = "Too much is changing at the same time: try again"


class Users(Protocol):
    async def add(self, user: NewUser, password: PasswordHash) -> User:
        """Raises `EmailTaken` when another user has the address, in whatever case."""
        ...

    async def get(self, user_id: UserId) -> Credentials | None:
        """The user, locked for other units of work until this one ends."""
        ...

    async def save(self, user: User) -> None:
        """Store what may change of a user that `get` handed out. Raises `EmailTaken`."""
        ...

    async def change_password(
        self, user_id: UserId, *, current_hash: PasswordHash, new_hash: PasswordHash
    ) -> bool:
        """Replace the password's hash. Returns False, and changes nothing, unless the stored hash
        is `current_hash`.
        """
        ...

    async def remove(self, user: User) -> None:
        """Remove the user. With the commit they and all that is theirs are out of every answer, and
        their address is free; what is stored may be deleted later, a vote be counted until then.
        """
        ...

    async def admins(self) -> list[UserId]:
        """Who is an admin and active, locked as by `get`.

        Call it before any `get`: all who change the number of admins meet here, in one order.
        """
        ...

    async def by_email(self, email: str) -> Credentials | None:
        """The user with this address, locked as by `get`."""
        ...


class Sessions(Protocol):
    async def add(self, session: NewSession, password: PasswordHash) -> Session:
        """Store it. When more than `SESSIONS_MAX` of the user's sessions would go on, those used
        longest ago end.

        Raises `InvalidCredentials` unless the user is active and this is their password still:
        both may have changed while it was being checked.
        """
        ...

    async def rotate(self, session: Session, *, used_hash: str, new_hash: str) -> bool:
        """Store a refreshed session and replace its refresh token, `used_hash` by `new_hash`.

        Returns False, and stores nothing, if `used_hash` is not the session's current refresh token
        or the session was revoked. Of several concurrent calls one succeeds.
        """
        ...

    async def revoke(self, session_id: SessionId, user_id: UserId, now: datetime) -> bool:
        """End a session. False, and nothing is changed, unless it is one of the user's that goes
        on at `now`.
        """
        ...

    async def revoke_all(
        self, user_id: UserId, now: datetime, *, but: SessionId | None = None
    ) -> int:
        """End all of the user's sessions that go on at `now`, except `but`; how many there were."""
        ...


class AccessTokens(Protocol):
    """Access tokens of technologies that store them."""

    async def add(
        self,
        token_hash: str,
        *,
        session_id: SessionId,
        issued_at: datetime,
        expires_at: datetime,
    ) -> None:
        """Store a token, and remove those of its session that expired before `issued_at`.

        `token_hash` is a SHA-256 in hexadecimal. The commit raises `AlreadyGone` if the session is.
        """
        ...


class Identities(Protocol):
    async def add(self, user: NewUser, *, issuer: str, subject: str) -> User:
        """A verified user without a password, whom an outside provider knows by this name.

        All tokens are valid, whenever they were issued. Raises `EmailTaken` when another user has
        the address, or this very user is there already.
        """
        ...

    async def ended_at(self, issuer: str, subject: str) -> datetime | None:
        """When the last user with this identity deleted the account, if that is not long ago."""
        ...

    async def end(self, user_id: UserId, now: datetime) -> None:
        """Remove the identities of a user, and remember that they ended `now`."""
        ...


class Posts(Protocol):
    async def add(self, post: NewPost) -> Post:
        """The post as it is stored with the commit, which raises `AlreadyGone` if the owner is."""
        ...

    async def details(self, post_id: PostId, viewer: UserId, now: datetime) -> PostDetails | None:
        """The post as `viewer` sees it, locked for other units of work until this one ends."""
        ...

    async def recent_post_times(
        self, author: UserId, since: datetime, limit: int
    ) -> Sequence[datetime]:
        """When the author wrote posts later than `since`, newest first, at most `limit`.

        Read from the recorded `POST_WRITTEN` events, so that deleting a post takes none away. Locks
        the author: concurrent units of work that call this for them wait until this one ends.
        """
        ...

    async def save(self, post: Post) -> None:
        """Raises `PostChanged`, and stores nothing, unless the stored version is one before."""
        ...

    async def remove(self, post: Post) -> None:
        """Raises `PostChanged`, and removes nothing, unless the stored version is this one."""
        ...


class OneTimeCodes(Protocol):
    async def add(self, code: OneTimeCode) -> None:
        """The commit raises `AlreadyGone` if the user is."""
        ...

    async def consume(self, code_hash: str) -> bool:
        """Remove the code with this hash, expired or not; False when there is none any more."""
        ...

    async def delete_all(self, user_id: UserId) -> None:
        """Remove all codes of the user but those that undo a change of address."""
        ...

    async def delete_undos(self, code: OneTimeCode) -> None:
        """Remove the codes that undo changes of the same user's address which are not older than
        the first one that `code`, or another code mailed to its address, undoes.
        """
        ...

    async def reserves(self, email: str, now: datetime, *, but: UserId | None = None) -> bool:
        """Whether somebody other than `but` may take this address back at `now`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxMessage:
    """A wish for a mail with a one-time code, and the request that it came with."""

    id: OutboxMessageId
    purpose: Purpose
    email: str
    user_id: UserId | None
    """Who asked for it; None: whoever has the address, if anybody."""
    added_at: datetime
    attempts: int
    """How often it was claimed, this time included."""
    origin: RequestInfo


@dataclass(frozen=True, slots=True)
class OutboxStatus:
    waiting: int
    """Letters that wait, those that are being sent included."""
    oldest: datetime | None
    """When the one that waits for longest was added."""


class Outbox(Protocol):
    async def add(
        self, purpose: Purpose, email: str, now: datetime, *, user_id: UserId | None = None
    ) -> None:
        """Have a letter wait that is due at once."""
        ...

    async def claim(
        self, now: datetime, *, until: datetime, busy: Collection[str] = ()
    ) -> OutboxMessage | None:
        """The letter that is due for longest at `now`, and for nobody else before `until`; None
        when none is. Two who claim at the same time do not wait for each other and get two letters.

        Letters to the hosts (`host_of` addresses) in `busy`, at most `BUSY_HOSTS_MAX`, are left.
        """
        ...

    async def postpone(self, letter_id: OutboxMessageId, *, until: datetime) -> None: ...

    async def remove(self, letter_id: OutboxMessageId) -> None: ...

    async def status(self) -> OutboxStatus: ...


class Votes(Protocol):
    """One vote for each user and post; the post's count is right with the commit."""

    async def add(self, post_id: PostId, voter: UserId) -> None:
        """Does nothing if there is one. The commit raises `AlreadyGone` if post or voter are."""
        ...

    async def remove(self, post_id: PostId, voter: UserId) -> None:
        """Does nothing if there is none."""
        ...


P = TypeVar("P")


class UnitOfWork(Protocol):
    """Changes that happen together or not at all.

    What its repositories hand out are copies: a change is stored by `save`, never by itself. A new
    row is sent with the next call that reads or changes something, or else with the commit. If it
    refers to something that is gone, that call raises `AlreadyGone`, and not the `add`.
    """

    def of(self, port: type[P], /) -> P:
        """The repository that keeps this port."""
        ...

    @property
    def users(self) -> Users:
        return self.of(Users)

    @property
    def sessions(self) -> Sessions:
        return self.of(Sessions)

    @property
    def access_tokens(self) -> AccessTokens:
        return self.of(AccessTokens)

    @property
    def identities(self) -> Identities:
        return self.of(Identities)

    @property
    def posts(self) -> Posts:
        return self.of(Posts)

    @property
    def codes(self) -> OneTimeCodes:
        return self.of(OneTimeCodes)

    @property
    def outbox(self) -> Outbox:
        return self.of(Outbox)

    @property
    def votes(self) -> Votes:
        return self.of(Votes)

    @property
    def idempotency(self) -> Idempotency:
        return self.of(Idempotency)

    def record(self, event: Event) -> None:
        """Keep it for the audit, in the same transaction as the changes."""
        ...

    async def commit(self) -> None:
        """Make the changes last. Leaving the unit of work without it undoes them.

        The unit of work is over with it, and with `EmailTaken`, `AlreadyGone` and `Unavailable`:
        whatever is asked of it after that raises RuntimeError.
        """
        ...


class Storage(Protocol):
    def __call__(self, author: UserId | None = None) -> AbstractAsyncContextManager[UnitOfWork]:
        """Open a unit of work; it takes no connection until it is first used.

        What the author reads after its commit shows its changes, wherever it is read from; see
        `PostQueries`.
        """
        ...
