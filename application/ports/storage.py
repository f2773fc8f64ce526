"""Changes, as a port: units of work and their repositories.

Every method raises `domain.errors.Unavailable` if the database does not answer, or refuses the
transaction because of concurrent ones.
"""

from collections.abc import (
    Awaitable,
    Callable,
    Sequence,  # posts only
)
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol, TypeVar

from application.ports.idempotency import Idempotency  # posts only
from application.ports.jobs import Jobs
from application.ports.mail import Outbox
from application.ports.passwords import PasswordHash
from application.ports.queries import (
    Credentials,
    PostDetails,  # posts only
)
from domain.events import Event
from domain.one_time_codes import OneTimeCode
from domain.posts import NewPost, Post, PostId  # posts only
from domain.sessions import NewSession, Session, SessionId
from domain.users import NewUser, User, UserId


class Users(Protocol):
    async def add(self, user: NewUser, password: PasswordHash) -> User:
        """Raises `EmailTaken` if another user has the address, compared by `email_key`."""
        ...

    async def get(self, user_id: UserId) -> Credentials | None:
        """The user, locked for other units of work until this one ends."""
        ...

    async def save(self, user: User) -> None:
        """Store the changes of a user that `get` returned. Raises `EmailTaken`."""
        ...

    async def change_password(
        self, user_id: UserId, *, current_hash: PasswordHash, new_hash: PasswordHash
    ) -> bool:
        """Replace the password's hash. Returns False, and changes nothing, unless the stored hash
        is `current_hash`.
        """
        ...

    async def remove(self, user: User) -> None:
        """Remove the user. After the commit, no read returns the user or their content, and
        their address is free. Rows may be deleted later.
        """
        ...

    async def admins(self) -> list[UserId]:
        """The active admins, locked as by `get`.

        Call it before any `get`, so that all use cases lock admins in the same order.
        """
        ...

    async def by_email(self, email: str) -> Credentials | None:
        """The user with this address, locked as by `get`."""
        ...


class Sessions(Protocol):
    async def add(self, session: NewSession, password: PasswordHash) -> Session:
        """Store a session. Revokes the least recently used sessions beyond `SESSIONS_MAX`.

        Raises `InvalidCredentials` unless the user is active, `password` is still the stored hash
        and `second_factor_since` the stored time: all may have changed since the login read them.
        """
        ...

    async def rotate(self, session: Session, *, used_hash: str, new_hash: str, nonce: str) -> bool:
        """Store a refreshed session and replace its refresh token, `used_hash` by `new_hash`,
        which was derived by `nonce`. The nonce replaces the previous one.

        Returns False, and stores nothing, if `used_hash` is not the session's current refresh token
        or the session was revoked. Of several concurrent calls one succeeds.
        """
        ...

    async def save_proof(self, session: Session) -> bool:
        """Store when and how a session was proved last. Returns False, and stores nothing, if the
        session was revoked.
        """
        ...

    async def revoke(self, session_id: SessionId, user_id: UserId, now: datetime) -> bool:
        """Revoke a session. Returns False, and changes nothing, unless it is a session of the user
        that is live at `now`.
        """
        ...

    async def revoke_all(
        self, user_id: UserId, now: datetime, *, but: SessionId | None = None
    ) -> int:
        """Revoke all of the user's live sessions at `now` except `but`. Returns their number."""
        ...


class AccessTokens(Protocol):
    """The store of access tokens, for technologies that need one."""

    async def add(
        self,
        token_hash: str,
        *,
        session_id: SessionId,
        issued_at: datetime,
        expires_at: datetime,
    ) -> None:
        """Store a token, and delete those of its session that expired before `issued_at`.

        `token_hash` is a SHA-256 in hexadecimal. The commit raises `AlreadyGone` if the session was
        deleted.
        """
        ...


class Identities(Protocol):
    async def add(self, user: NewUser, *, issuer: str, subject: str) -> User:
        """Add a verified user without a password, with this identity at an outside provider.

        Tokens of any age are valid for the user. Raises `EmailTaken` if the address or the identity
        is taken.
        """
        ...

    async def ended_at(self, issuer: str, subject: str) -> datetime | None:
        """When the last user with this identity deleted the account, if that is not long ago."""
        ...

    async def end(self, user_id: UserId, now: datetime) -> None:
        """Remove the identities of a user, and remember that they ended `now`."""
        ...


class Posts(Protocol):  # posts only
    async def add(self, post: NewPost) -> Post:
        """Returns the stored post. The commit raises `AlreadyGone` if the owner was deleted."""
        ...

    async def details(self, post_id: PostId, viewer: UserId, now: datetime) -> PostDetails | None:
        """The post as `viewer` sees it.

        No other unit of work changes it before this one saves or removes it. It waits until this
        one ends, or it is faster and `Storage.run` runs this one again.
        """
        ...

    async def recent_post_times(
        self, author: UserId, since: datetime, limit: int
    ) -> Sequence[datetime]:
        """Creation times of the author's posts since `since`, newest first, at most `limit`.

        They come from the `POST_WRITTEN` events, so they include deleted posts. Locks the author:
        concurrent units of work that call this for them wait until this one ends.
        """
        ...

    async def save(self, post: Post) -> None:
        """Raises `PostChanged`, and stores nothing, unless the stored version is one lower."""
        ...

    async def remove(self, post: Post) -> None:
        """Raises `PostChanged`, and removes nothing, unless the stored version is the same."""
        ...


class OneTimeCodes(Protocol):
    async def add(self, code: OneTimeCode) -> None:
        """The commit raises `AlreadyGone` if the user was deleted."""
        ...

    async def consume(self, code_hash: str) -> bool:
        """Delete the code with this hash, expired or not. Returns False if there is none."""
        ...

    async def delete_all(self, user_id: UserId) -> None:
        """Delete all codes of the user except those that undo a change of address."""
        ...

    async def delete_undos(self, code: OneTimeCode) -> None:
        """Delete the user's codes that undo a change of address, as far as they are not older than
        `code` or than the oldest such code that was mailed to the same address.
        """
        ...

    async def reserves(self, email: str, now: datetime, *, but: UserId | None = None) -> bool:
        """Whether a user other than `but` can still restore this address at `now`."""
        ...


class Votes(Protocol):  # posts only
    """One vote for each user and post. The commit updates the post's number of votes."""

    async def add(self, post_id: PostId, voter: UserId) -> None:
        """Does nothing if the vote exists. The commit raises `AlreadyGone` if the post or the
        voter was deleted.
        """
        ...

    async def remove(self, post_id: PostId, voter: UserId) -> None:
        """Does nothing if there is no vote."""
        ...


P = TypeVar("P")
T = TypeVar("T")


class UnitOfWork(Protocol):
    """Changes that are committed together or not at all.

    Repositories return copies: only `save` stores a change. A new row is sent with the next call
    that reads or changes something, or with the commit. If the row refers to something that was
    deleted, that call raises `AlreadyGone`, not the `add`.
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

    @property  # posts only
    def posts(self) -> Posts:
        return self.of(Posts)

    @property
    def codes(self) -> OneTimeCodes:
        return self.of(OneTimeCodes)

    @property
    def jobs(self) -> Jobs:
        return self.of(Jobs)

    @property
    def outbox(self) -> Outbox:
        return Outbox(self.jobs)

    @property  # posts only
    def votes(self) -> Votes:
        return self.of(Votes)

    @property  # posts only
    def idempotency(self) -> Idempotency:
        return self.of(Idempotency)

    def record(self, event: Event, *, concerned: User | None = None) -> None:
        """Store an event for the audit, in the transaction of the changes.

        Reactions to the event are given the id and the present address of `concerned`, so pass the
        user as they were before a change of address.
        """
        ...

    async def commit(self) -> None:
        """Commit the changes. Leaving the unit of work without a commit rolls them back.

        A commit ends the unit of work, and so do `EmailTaken`, `AlreadyGone` and `Unavailable`:
        every later call raises RuntimeError.
        """
        ...


class Storage(Protocol):
    async def run(self, work: Callable[[UnitOfWork], Awaitable[T]]) -> T:
        """Run `work` in a unit of work, which it commits itself. Returns what it returns.

        Runs it again from its beginning, up to four times in all, when the transaction conflicts
        with concurrent ones. What must not be done twice, or costs much, is done before.
        """
        ...

    def __call__(self) -> AbstractAsyncContextManager[UnitOfWork]:
        """Open a unit of work for one attempt. It takes a connection when it is first used."""
        ...

    def on_jobs(self, wake: Callable[[], None]) -> None:
        """Call `wake` after each commit of this storage that may have added jobs."""
        ...
