"""Units of work on dictionaries.

Each one changes a copy of what is committed and publishes it with its commit, so that a forgotten
commit and a lost rollback show. Entities are copied on their way in and out.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from copy import copy, deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from typing import Any

from application.ports.passwords import PasswordHash
from application.ports.queries import AuditEntry, Credentials, PostDetails
from application.ports.storage import (
    AccessTokens,
    IdempotencyRecord,
    OutboxMessage,
    OutboxMessageId,
    SerializationFailure,
)
from application.request_info import REQUEST_INFO
from domain.addresses import email_key
from domain.errors import AlreadyGone, DomainError, Unavailable
from domain.events import Event, EventId
from domain.one_time_codes import OneTimeCode, Purpose
from domain.posts import POST_WRITTEN, NewPost, Post, PostChanged, PostId
from domain.sessions import SESSIONS_MAX, InvalidCredentials, NewSession, Session, SessionId
from domain.users import EmailTaken, NewUser, Role, User, UserId


@dataclass(frozen=True, slots=True)
class Account:
    user: User
    password: PasswordHash


@dataclass(frozen=True, slots=True)
class WaitingLetter:
    letter: OutboxMessage
    due_at: datetime


@dataclass(slots=True)
class State:
    """All that is stored. What stands in it is only ever replaced, never changed."""

    accounts: dict[UserId, Account] = field(default_factory=dict)
    sessions: dict[SessionId, Session] = field(default_factory=dict)
    refresh_hashes: dict[str, SessionId] = field(default_factory=dict)
    """Of each session; the last one is the one that continues it, those before are spent."""
    access_tokens: dict[str, SessionId] = field(default_factory=dict)
    """By the token's hash."""
    identities: dict[tuple[str, str], UserId] = field(default_factory=dict)
    """By issuer and subject."""
    posts: dict[PostId, Post] = field(default_factory=dict)
    votes: set[tuple[PostId, UserId]] = field(default_factory=set)
    events: list[AuditEntry] = field(default_factory=list)
    codes: dict[str, OneTimeCode] = field(default_factory=dict)
    outbox: dict[OutboxMessageId, "WaitingLetter"] = field(default_factory=dict)
    kept: dict[tuple[UserId, str], IdempotencyRecord] = field(default_factory=dict)

    def copy(self) -> "State":
        return State(
            dict(self.accounts),
            dict(self.sessions),
            dict(self.refresh_hashes),
            dict(self.access_tokens),
            dict(self.identities),
            dict(self.posts),
            set(self.votes),
            list(self.events),
            dict(self.codes),
            dict(self.outbox),
            dict(self.kept),
        )

    def remove_user(self, user_id: UserId) -> None:
        """And with them what is theirs."""
        self.accounts.pop(user_id, None)
        self.sessions = {key: s for key, s in self.sessions.items() if s.user_id != user_id}
        self.refresh_hashes = {
            key: id_ for key, id_ in self.refresh_hashes.items() if id_ in self.sessions
        }
        self.identities = {key: id_ for key, id_ in self.identities.items() if id_ != user_id}
        self.posts = {key: p for key, p in self.posts.items() if p.owner_id != user_id}
        self.codes = {key: code for key, code in self.codes.items() if code.user_id != user_id}
        self.kept = {key: kept for key, kept in self.kept.items() if key[0] != user_id}
        self.votes = {
            (post, voter) for post, voter in self.votes if post in self.posts and voter != user_id
        }

    def account(self, email: str) -> Account | None:
        key = email_key(email)
        return next((a for a in self.accounts.values() if email_key(a.user.email) == key), None)

    def refresh_hash(self, session_id: SessionId) -> str:
        """Of the token that continues the session."""
        return [hash_ for hash_, id_ in self.refresh_hashes.items() if id_ == session_id][-1]

    def sessions_of(self, user_id: UserId, now: datetime) -> list[Session]:
        """Those that go on, the one used last first."""
        going_on = [
            session
            for session in self.sessions.values()
            if session.user_id == user_id and not session.revoked_at and now < session.expires_at
        ]
        return sorted(going_on, key=lambda session: (session.last_used_at, session.id))[::-1]

    def details(self, post: Post, viewer: UserId, now: datetime) -> PostDetails:
        return PostDetails(
            post=copy(post),
            visibility=post.visibility(now),
            owner_name=self.accounts[post.owner_id].user.name,
            votes=sum(voted_for == post.id for voted_for, _ in self.votes),
            voted=(post.id, viewer) in self.votes,
        )


class FakeStorage:
    """Call it for a unit of work. One at a time changes anything; who waits for longer than
    `patience` seconds is told that the database is unavailable.

    `committed` is for tests to look at; the methods do behind the application's back what no use
    case does yet. Name a part in `down` to have it fail; so many commits as `conflicts` says are
    refused because of what others do.
    """

    def __init__(self, *, patience: float = 2.0) -> None:
        self.committed = State()
        self.down: list[str] = []
        self.conflicts = 0
        self.patience = patience
        self.turn = asyncio.Lock()
        # One row of numbers for everything: an id in the wrong place finds nothing.
        self.ids = count(1)

    @asynccontextmanager
    async def __call__(self, author: UserId | None = None) -> "AsyncIterator[FakeUnitOfWork]":
        uow = FakeUnitOfWork(self)
        try:
            yield uow
        finally:
            uow.end()

    def refuse_when_down(self) -> None:
        if "database" in self.down:
            raise Unavailable

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
        self.committed.remove_user(user_id)


class FakeUnitOfWork:
    def __init__(self, storage: FakeStorage) -> None:
        self._storage = storage
        self._state: State | None = None
        self._over = False
        self._recorded: list[Event] = []
        self.users = FakeUsers(self)
        self.sessions = FakeSessions(self)
        self.access_tokens = FakeAccessTokens(self)
        self.identities = FakeIdentities(self)
        self.posts = FakePosts(self)
        self.codes = FakeOneTimeCodes(self)
        self.outbox = FakeOutbox(self)
        self.votes = FakeVotes(self)
        self.idempotency = FakeIdempotency(self)

    async def state(self) -> State:
        """What this unit of work sees and changes; the first call waits for its turn."""
        await self._pass_on()
        if self._state is None:
            try:
                async with asyncio.timeout(self._storage.patience):
                    await self._storage.turn.acquire()
            except TimeoutError:
                raise Unavailable from None
            self._state = self._storage.committed.copy()
        return self._state

    def new_id(self) -> int:
        return next(self._storage.ids)

    def refuse(self, error: type[DomainError]) -> DomainError:
        """`error`, to be raised; nothing can be committed after a refusal by the database."""
        self._over = True
        return error()

    def record(self, event: Event) -> None:
        self._recorded.append(event)

    async def commit(self) -> None:
        await self._pass_on()
        origin = REQUEST_INFO.get()
        for event in self._recorded:
            entry = AuditEntry(
                id=EventId(self.new_id()), event=event, request_id=origin.request_id, ip=origin.ip
            )
            (await self.state()).events.append(entry)
        self._over = True
        if self._storage.conflicts:
            self._storage.conflicts -= 1
            raise SerializationFailure
        if self._state is not None:
            self._storage.committed = self._state

    def end(self) -> None:
        if self._state is not None:
            self._storage.turn.release()

    async def _pass_on(self) -> None:
        if self._over:
            raise RuntimeError("This unit of work is over")
        await asyncio.sleep(0)  # as if on the way to a database: others go on
        self._storage.refuse_when_down()


class FakeUsers:
    def __init__(self, uow: FakeUnitOfWork) -> None:
        self._uow = uow

    async def add(self, user: NewUser, password: PasswordHash) -> User:
        state = await self._uow.state()
        if state.account(user.email):
            raise self._uow.refuse(EmailTaken)
        added = User(
            id=UserId(self._uow.new_id()),
            email=user.email,
            name=user.name,
            role=user.role,
            is_active=True,
            is_verified=False,
            created_at=user.created_at,
            tokens_valid_from=user.created_at,
        )
        state.accounts[added.id] = Account(copy(added), password)
        return added

    async def get(self, user_id: UserId) -> Credentials | None:
        account = (await self._uow.state()).accounts.get(user_id)
        return Credentials(user=copy(account.user), password=account.password) if account else None

    async def by_email(self, email: str) -> Credentials | None:
        account = (await self._uow.state()).account(email)
        return Credentials(user=copy(account.user), password=account.password) if account else None

    async def save(self, user: User) -> None:
        state = await self._uow.state()
        namesake = state.account(user.email)
        if namesake and namesake.user.id != user.id:
            raise self._uow.refuse(EmailTaken)
        account = state.accounts[user.id]
        state.accounts[user.id] = replace(account, user=copy(user))

    async def change_password(
        self, user_id: UserId, *, known: PasswordHash, new: PasswordHash
    ) -> bool:
        state = await self._uow.state()
        account = state.accounts.get(user_id)
        if account is None or account.password != known:
            return False
        state.accounts[user_id] = replace(account, password=new)
        return True

    async def remove(self, user: User) -> None:
        (await self._uow.state()).remove_user(user.id)

    async def admins(self) -> list[UserId]:
        state = await self._uow.state()
        users = [account.user for account in state.accounts.values()]
        return sorted(user.id for user in users if user.role is Role.ADMIN and user.is_active)


class FakeSessions:
    def __init__(self, uow: FakeUnitOfWork) -> None:
        self._uow = uow

    async def add(self, session: NewSession, password: PasswordHash) -> Session:
        state = await self._uow.state()
        account = state.accounts.get(session.user_id)
        if account is None or not account.user.is_active or account.password != password:
            raise InvalidCredentials
        added = Session(
            id=SessionId(self._uow.new_id()),
            user_id=session.user_id,
            created_at=session.created_at,
            last_used_at=session.created_at,
            expires_at=session.expires_at,
            revoked_at=None,
            user_agent=session.user_agent,
            ip=session.ip,
        )
        state.sessions[added.id] = copy(added)
        state.refresh_hashes[session.refresh_hash] = added.id
        surplus = state.sessions_of(session.user_id, session.created_at)[SESSIONS_MAX:]
        self._end(state, {over.id for over in surplus}, session.created_at)
        return added

    async def rotate(self, session: Session, *, spent: str, fresh: str) -> bool:
        state = await self._uow.state()
        stored = state.sessions.get(session.id)
        if stored is None or stored.revoked_at or state.refresh_hash(session.id) != spent:
            return False
        state.sessions[session.id] = copy(session)
        state.refresh_hashes[fresh] = session.id
        return True

    async def revoke(self, session_id: SessionId, user_id: UserId, now: datetime) -> bool:
        state = await self._uow.state()
        going_on = {session.id for session in state.sessions_of(user_id, now)} & {session_id}
        self._end(state, going_on, now)
        return bool(going_on)

    async def revoke_all(
        self, user_id: UserId, now: datetime, *, but: SessionId | None = None
    ) -> int:
        state = await self._uow.state()
        going_on = {session.id for session in state.sessions_of(user_id, now)} - {but}
        self._end(state, going_on, now)
        return len(going_on)

    def _end(self, state: State, ids: AbstractSet[SessionId | None], now: datetime) -> None:
        for id_, session in state.sessions.items():
            if id_ in ids:
                state.sessions[id_] = replace(session, revoked_at=now)


class FakeAccessTokens(AccessTokens):
    def __init__(self, uow: FakeUnitOfWork) -> None:
        self._uow = uow

    async def add(
        self,
        token_hash: str,
        *,
        session_id: SessionId,
        issued_at: datetime,
        expires_at: datetime,
    ) -> None:
        state = await self._uow.state()
        if session_id not in state.sessions:
            raise self._uow.refuse(AlreadyGone)
        state.access_tokens[token_hash] = session_id


class FakeIdentities:
    def __init__(self, uow: FakeUnitOfWork) -> None:
        self._uow = uow

    async def add(self, user: NewUser, *, issuer: str, subject: str) -> User:
        state = await self._uow.state()
        if (issuer, subject) in state.identities:
            raise self._uow.refuse(EmailTaken)
        added = await FakeUsers(self._uow).add(user, PasswordHash(""))
        added = replace(added, is_verified=True, tokens_valid_from=datetime(1970, 1, 1, tzinfo=UTC))
        state.accounts[added.id] = Account(copy(added), PasswordHash(""))
        state.identities[issuer, subject] = added.id
        return added


class FakePosts:
    def __init__(self, uow: FakeUnitOfWork) -> None:
        self._uow = uow

    async def add(self, post: NewPost) -> Post:
        state = await self._uow.state()
        if post.owner_id not in state.accounts:
            raise self._uow.refuse(AlreadyGone)
        added = post.stored_as(self._uow.new_id())
        state.posts[added.id] = copy(added)
        return added

    async def details(self, post_id: PostId, viewer: UserId, now: datetime) -> PostDetails | None:
        state = await self._uow.state()
        post = state.posts.get(post_id)
        return state.details(post, viewer, now) if post else None

    async def recent_post_times(
        self, author: UserId, since: datetime, limit: int
    ) -> Sequence[datetime]:
        events = [entry.event for entry in (await self._uow.state()).events]
        written = [e.at for e in events if e.name == POST_WRITTEN and e.actor_id == author]
        return [at for at in written[::-1][:limit] if at > since]

    async def save(self, post: Post) -> None:
        state = await self._uow.state()
        stored = state.posts.get(post.id)
        if stored is None or stored.version != post.version - 1:
            raise PostChanged
        state.posts[post.id] = copy(post)

    async def remove(self, post: Post) -> None:
        state = await self._uow.state()
        stored = state.posts.get(post.id)
        if stored is None or stored.version != post.version:
            raise PostChanged
        del state.posts[post.id]
        state.votes = {vote for vote in state.votes if vote[0] != post.id}


class FakeOneTimeCodes:
    def __init__(self, uow: FakeUnitOfWork) -> None:
        self._uow = uow

    async def add(self, code: OneTimeCode) -> None:
        state = await self._uow.state()
        if code.user_id not in state.accounts:
            raise self._uow.refuse(AlreadyGone)
        state.codes[code.code_hash] = code

    async def consume(self, code_hash: str) -> bool:
        return (await self._uow.state()).codes.pop(code_hash, None) is not None

    async def delete_all(self, user_id: UserId) -> None:
        await self._delete(
            lambda code: code.user_id == user_id and code.purpose is not Purpose.EMAIL_CHANGE_UNDO
        )

    async def delete_undos(self, code: OneTimeCode) -> None:
        undos = [
            other
            for other in (await self._uow.state()).codes.values()
            if other.user_id == code.user_id and other.purpose is Purpose.EMAIL_CHANGE_UNDO
        ]
        same = [other.expires_at for other in undos if other.email == code.email]
        first = min([code.expires_at, *same])
        await self._delete(lambda other: other in undos and other.expires_at >= first)

    async def _delete(self, is_deleted: Callable[[OneTimeCode], bool]) -> None:
        state = await self._uow.state()
        state.codes = {key: code for key, code in state.codes.items() if not is_deleted(code)}

    async def reserves(self, email: str, now: datetime, *, but: UserId | None = None) -> bool:
        return any(
            code.purpose is Purpose.EMAIL_CHANGE_UNDO
            and email_key(code.email) == email_key(email)
            and code.expires_at > now
            and code.user_id != but
            for code in (await self._uow.state()).codes.values()
        )


class FakeOutbox:
    def __init__(self, uow: FakeUnitOfWork) -> None:
        self._uow = uow

    async def add(
        self, purpose: Purpose, email: str, now: datetime, *, user_id: UserId | None = None
    ) -> None:
        state = await self._uow.state()
        id_ = OutboxMessageId(self._uow.new_id())
        letter = OutboxMessage(
            id=id_,
            purpose=purpose,
            email=email,
            user_id=user_id,
            added_at=now,
            attempts=0,
            origin=REQUEST_INFO.get(),
        )
        state.outbox[id_] = WaitingLetter(letter, now)

    async def claim(self, now: datetime, *, until: datetime) -> OutboxMessage | None:
        state = await self._uow.state()
        due = [waiting for waiting in state.outbox.values() if waiting.due_at <= now]
        if not due:
            return None
        first = min(due, key=lambda waiting: (waiting.due_at, waiting.letter.id)).letter
        claimed = replace(first, attempts=first.attempts + 1)
        state.outbox[first.id] = WaitingLetter(claimed, until)
        return claimed

    async def postpone(self, letter_id: OutboxMessageId, *, until: datetime) -> None:
        state = await self._uow.state()
        state.outbox[letter_id] = replace(state.outbox[letter_id], due_at=until)

    async def remove(self, letter_id: OutboxMessageId) -> None:
        (await self._uow.state()).outbox.pop(letter_id, None)


class FakeVotes:
    def __init__(self, uow: FakeUnitOfWork) -> None:
        self._uow = uow

    async def add(self, post_id: PostId, voter: UserId) -> None:
        state = await self._uow.state()
        if post_id not in state.posts or voter not in state.accounts:
            raise self._uow.refuse(AlreadyGone)
        state.votes.add((post_id, voter))

    async def remove(self, post_id: PostId, voter: UserId) -> None:
        state = await self._uow.state()
        state.votes.discard((post_id, voter))


class FakeIdempotency:
    def __init__(self, uow: FakeUnitOfWork) -> None:
        self._uow = uow

    async def claim(self, user_id: UserId, key: str, since: datetime) -> IdempotencyRecord | None:
        kept = (await self._uow.state()).kept.get((user_id, key))
        return deepcopy(kept) if kept is not None and kept.at > since else None

    async def save(self, kept: IdempotencyRecord) -> None:
        state = await self._uow.state()
        if kept.user_id not in state.accounts:
            raise self._uow.refuse(AlreadyGone)
        state.kept[kept.user_id, kept.key] = deepcopy(kept)
