"""Units of work on dictionaries.

Each one changes a copy of what is committed and publishes it with its commit, so that a forgotten
commit and a lost rollback show. Entities are copied on their way in and out. The repositories are
in the modules of their concepts.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import count
from typing import Any, Generic, Protocol, TypeVar, cast

from application.concepts import adapter
from application.deliveries import send_to_webhooks
from application.outages import DatabaseUnavailable, SerializationFailure
from application.ports.idempotency import IdempotencyRecord  # posts only
from application.ports.jobs import Job, JobId, Jobs, NewJob
from application.ports.passwords import PasswordHash
from application.ports.queries import (
    AuditEntry,
    PostDetails,  # posts only
)
from application.ports.storage import (
    P,
    Storage,
    T,
    UnitOfWork,
)
from application.reactions import ANY, REACTIONS, Reactions, jobs_for, name_of, payload_of
from application.request_info import REQUEST_INFO
from domain.addresses import email_key
from domain.errors import DomainError, Stale
from domain.events import Event, EventId
from domain.one_time_codes import OneTimeCode
from domain.posts import Post, PostId  # posts only
from domain.sessions import Session, SessionId
from domain.users import User, UserId
from tests.fakes.tables import Tables

# What is stored beside the entities of the domain.


@dataclass(frozen=True, slots=True)
class Account:
    id: UserId
    user: User
    password: PasswordHash


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """The newest of a session continues it; those before are rotated."""

    hash: str
    session_id: SessionId
    nonce: str | None = None
    made_at: datetime | None = None
    """When it replaced the one before."""


@dataclass(frozen=True, slots=True)
class AccessToken:
    hash: str
    session_id: SessionId


@dataclass(frozen=True, slots=True)
class Identity:
    issuer: str
    subject: str
    user_id: UserId


@dataclass(frozen=True, slots=True)
class EndedIdentity:
    issuer: str
    subject: str
    at: datetime


@dataclass(frozen=True, slots=True)  # posts only
class Vote:
    post_id: PostId
    user_id: UserId


class State(Tables):
    """All that is stored."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[AuditEntry] = []

    def copy(self) -> "State":
        copied = super().copy()
        copied.events = list(self.events)
        return copied

    @property
    def accounts(self) -> dict[UserId, Account]:
        return self.rows(Account)

    @property
    def sessions(self) -> dict[SessionId, Session]:
        return self.rows(Session)

    @property
    def refresh_tokens(self) -> dict[str, RefreshToken]:
        return self.rows(RefreshToken)

    @property  # posts only
    def posts(self) -> dict[PostId, Post]:
        return self.rows(Post)

    @property  # posts only
    def votes(self) -> dict[tuple[PostId, UserId], Vote]:
        return self.rows(Vote)

    @property
    def codes(self) -> dict[str, OneTimeCode]:
        return self.rows(OneTimeCode)

    @property
    def jobs(self) -> dict[JobId, Job]:
        return self.rows(Job)

    @property  # posts only
    def kept(self) -> dict[tuple[UserId, str], IdempotencyRecord]:
        return self.rows(IdempotencyRecord)

    def account(self, email: str) -> Account | None:
        key = email_key(email)
        return next((a for a in self.accounts.values() if email_key(a.user.email) == key), None)

    def refresh_chain(self, session_id: SessionId) -> list[RefreshToken]:
        """The tokens of the session. The last one continues it."""
        tokens = self.refresh_tokens.values()
        return [token for token in tokens if token.session_id == session_id]

    def sessions_of(self, user_id: UserId, now: datetime) -> list[Session]:
        """The sessions that are active at `now`, the one used last first."""
        active = [
            session
            for session in self.sessions.values()
            if session.user_id == user_id and not session.revoked_at and now < session.expires_at
        ]
        return sorted(active, key=lambda session: (session.last_used_at, session.id))[::-1]

    def details(self, post: Post, viewer: UserId, now: datetime) -> PostDetails:  # posts only
        return PostDetails(
            post=deepcopy(post),
            visibility=post.visibility(now),
            owner_name=self.accounts[post.owner_id].user.name,
            votes=sum(voted_for == post.id for voted_for, _ in self.votes),
            voted=(post.id, viewer) in self.votes,
        )


ATTEMPTS = 4
"""At a unit of work, before a refusal because of concurrent changes is raised."""


class FakeStorage(Storage):
    """Call it for a unit of work. One at a time changes anything; who waits for longer than
    `patience` seconds is told that the database is unavailable.

    `committed` is for tests to look at; the methods do behind the application's back what no use
    case does yet. Name a part in `down` to have it fail; so many commits as `conflicts` says are
    refused because of what others do.
    """

    def __init__(self, *, patience: float = 2.0, reactions: Reactions = REACTIONS) -> None:
        self.reactions = reactions
        self.committed = State()
        self.down: list[str] = []
        self.conflicts = 0
        self.patience = patience
        self.turn = asyncio.Lock()
        # One row of numbers for everything: an id in the wrong place finds nothing.
        self.ids = count(1)
        self.wakes: list[Callable[[], None]] = []

    def on_jobs(self, wake: Callable[[], None]) -> None:
        self.wakes.append(wake)

    @asynccontextmanager
    async def __call__(self) -> "AsyncIterator[FakeUnitOfWork]":
        uow = FakeUnitOfWork(self)
        try:
            yield uow
        finally:
            uow.end()

    async def read(self) -> State:
        """What is committed, for reads outside of units of work."""
        await asyncio.sleep(0)  # as if on the way to a database: others go on
        self.refuse_when_down()
        return self.committed

    async def run(self, work: Callable[[UnitOfWork], Awaitable[T]]) -> T:
        for attempt in count(1):
            try:
                async with self() as uow:
                    return await work(uow)
            except SerializationFailure:
                if attempt == ATTEMPTS:
                    raise
        raise AssertionError

    def refuse_when_down(self) -> None:
        if "database" in self.down:
            raise DatabaseUnavailable

    def change_user(self, user_id: UserId, **changes: Any) -> None:
        account = self.committed.accounts[user_id]
        changed = replace(account, user=replace(account.user, **changes))
        self.committed.accounts[user_id] = changed

    def change_password(self, user_id: UserId, password: PasswordHash) -> None:
        account = self.committed.accounts[user_id]
        self.committed.accounts[user_id] = replace(account, password=password)

    def change_session(self, session_id: SessionId, **changes: Any) -> None:
        session = self.committed.sessions[session_id]
        self.committed.sessions[session_id] = replace(session, **changes)

    def remove_user(self, user_id: UserId) -> None:
        self.committed = self.committed.copy()
        self.committed.remove(Account, user_id)


class FakeUnitOfWork(UnitOfWork):
    def __init__(self, storage: FakeStorage) -> None:
        self._storage = storage
        self._state: State | None = None
        self._over = False
        self._recorded: list[Event] = []
        self.adds_jobs = False
        self._unsent: list[Callable[[State], None]] = []

    def of(self, port: type[P], /) -> P:
        repository: Any = adapter(port, "tests.fakes")
        return cast("P", repository(self))

    async def state(self) -> State:
        """What this unit of work sees and changes; the first call waits for its turn.

        Sends what was deferred before.
        """
        await self.reach()
        if self._state is None:
            try:
                async with asyncio.timeout(self._storage.patience):
                    await self._storage.turn.acquire()
            except TimeoutError:
                raise DatabaseUnavailable from None
            self._state = self._storage.committed.copy()
        while self._unsent:
            change = self._unsent.pop(0)
            try:
                change(self._state)
            except DomainError:
                self._over = True
                raise
        return self._state

    def defer(self, change: Callable[[State], None]) -> None:
        """Make `change` with the next call of `state`, or with the commit."""
        self._unsent.append(change)

    def new_id(self) -> int:
        return next(self._storage.ids)

    def refuse(self, error: type[DomainError]) -> DomainError:
        """`error`, to be raised; nothing can be committed after a refusal by the database."""
        self._over = True
        return error()

    def record(self, event: Event, *, concerned: User | None = None) -> None:
        self._recorded.append(event)
        jobs: Any = self.of(Jobs)
        for job in jobs_for(event, self._storage.reactions, concerned=concerned):
            jobs.put(job)
        if send_to_webhooks in self._storage.reactions.get(ANY, ()):
            kind = name_of(send_to_webhooks)
            job = NewJob(kind=kind, payload=payload_of(event), due_at=event.at)
            jobs.put(job, if_subscribed_to=event.name)

    async def commit(self) -> None:
        await self.reach()
        if self._unsent or self._recorded:
            info, state = REQUEST_INFO.get(), await self.state()
            state.events += [
                AuditEntry(
                    id=EventId(self.new_id()), event=event, request_id=info.request_id, ip=info.ip
                )
                for event in self._recorded
            ]
        self._over = True
        if self._storage.conflicts:
            self._storage.conflicts -= 1
            raise SerializationFailure
        if self._state is not None:
            self._storage.committed = self._state
        if self.adds_jobs:
            for wake in self._storage.wakes:
                wake()

    def end(self) -> None:
        if self._state is not None:
            self._storage.turn.release()

    async def reach(self) -> None:
        """What every call passes on its way to the storage."""
        if self._over:
            raise RuntimeError("This unit of work is over")
        await asyncio.sleep(0)  # as if on the way to a database: others go on
        self._storage.refuse_when_down()


class Entity(Protocol):
    @property
    def id(self) -> int: ...


EntityT = TypeVar("EntityT", bound=Entity)
EntityT_co = TypeVar("EntityT_co", bound=Entity, covariant=True)


class New(Protocol[EntityT_co]):
    def stored_as(self, id_: int, /) -> EntityT_co: ...


class FakeRepository(Generic[EntityT]):
    """Adds, gets, saves and removes the entities of `kind`, as `Repository` of the databases does.

    Saving and removing raise `stale` where the version is not the expected one.
    """

    kind: type[EntityT]
    stale: type[DomainError] = Stale

    def __init__(self, uow: FakeUnitOfWork) -> None:
        self._uow = uow

    async def add(self, new: New[EntityT]) -> EntityT:
        await self._uow.reach()
        added = new.stored_as(self._uow.new_id())
        row = deepcopy(added)
        self._uow.defer(lambda state: state.put(row.id, row))
        return added

    async def get(self, id_: int) -> EntityT | None:
        return deepcopy((await self._uow.state()).rows(self.kind).get(id_))

    async def save(self, entity: EntityT) -> None:
        state = await self._uow.state()
        self._expect(state, entity, _version(entity) - 1)
        state.put(entity.id, entity)

    async def remove(self, entity: EntityT) -> None:
        state = await self._uow.state()
        self._expect(state, entity, _version(entity))
        state.remove(self.kind, entity.id)

    def _expect(self, state: State, entity: EntityT, version: int) -> None:
        stored = state.rows(self.kind).get(entity.id)
        if stored is None or (hasattr(stored, "version") and stored.version != version):
            raise self.stale


def _version(entity: object) -> int:
    return getattr(entity, "version", 0)
