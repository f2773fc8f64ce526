"""Sessions: row, mapping and repository."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Index,
    and_,
    any_,
    bindparam,
    exists,
    insert,
    not_,
    or_,
    select,
    text,
    update,
)
from sqlmodel import Field

from application.ports.passwords import PasswordHash
from application.ports.queries import RefreshLookup
from application.ports.storage import Sessions
from domain.events import LOGGED_IN
from domain.sessions import (
    SESSIONS_MAX,
    InvalidCredentials,
    Method,
    NewSession,
    RefreshChain,
    Session,
    SessionId,
    network_of,
)
from domain.users import User, UserId
from infrastructure.database.driver.exported import OWNER, Exported
from infrastructure.database.driver.lookups import Lookup, lookup
from infrastructure.database.driver.mapping import Mapping
from infrastructure.database.driver.rows import (
    IDS,
    Instant,
    Row,
    Words,
    primary_key,
    reference,
    table,
    timestamp_column,
)
from infrastructure.database.driver.statements import Database, Record, Transaction
from infrastructure.database.events import EVENTS
from infrastructure.database.requester import REQUESTER, Requester
from infrastructure.database.users import OPEN, USER, USERS

_UNREVOKED: dict[str, Any] = dict.fromkeys(
    ("postgresql_where", "sqlite_where"), text("revoked_at IS NULL")
)


class SessionRow(Row, table=True):
    __tablename__ = "sessions"
    __table_args__ = (
        Index("ix_sessions_user_id_network", "user_id", "network"),
        # Partial, so that listing the live sessions of a user reads no revoked ones.
        Index("ix_sessions_user_id_unrevoked", "user_id", **_UNREVOKED),
        {"sqlite_autoincrement": True},
    )

    id: int | None = primary_key()
    user_id: int = reference("users.id")
    created_at: datetime = timestamp_column()
    last_used_at: datetime = timestamp_column()
    expires_at: datetime = timestamp_column()
    revoked_at: datetime | None = timestamp_column()
    refresh_hash: str = Field(unique=True)
    refresh_nonce: str | None = None
    user_agent: str | None
    ip: str | None
    network: str | None
    methods: Any = Field(sa_type=Words(Method), sa_column_kwargs={"server_default": "pwd"})
    last_proof_at: datetime | None = timestamp_column()
    last_factor_proof_at: datetime | None = timestamp_column()


SESSION = Mapping(SessionRow, Session)
SESSIONS = SESSION.table
EXPORTED = (
    Exported(
        "sessions",
        [
            SESSIONS.c.id,
            SESSIONS.c.created_at,
            SESSIONS.c.last_used_at,
            SESSIONS.c.expires_at,
            SESSIONS.c.revoked_at,
            SESSIONS.c.user_agent,
            SESSIONS.c.ip,
        ],
        owned=SESSIONS.c.user_id == OWNER,
        key=SESSIONS.c.id,
    ),
)


class RotatedRefreshTokenRow(Row, table=True):
    """A refresh token that was used: another one has replaced it."""

    __tablename__ = "spent_refresh_tokens"

    hash: str = Field(primary_key=True)
    session_id: int = reference("sessions.id", index=True)
    spent_at: datetime = timestamp_column()


ROTATED_TOKENS = table(RotatedRefreshTokenRow)

SESSION_USER = select(*SESSION.columns, *USER.columns, USERS.c.writes).join(
    USERS, and_(USERS.c.id == SESSIONS.c.user_id, OPEN)
)
_FROM_NETWORK = (
    select(SESSIONS.c.id)
    .where(SESSIONS.c.user_id == bindparam("user_id"), SESSIONS.c.network == bindparam("network"))
    .limit(1)
)
# Sessions are purged, so the audit is asked as well whether there was a login.
_HAS_LOGGED_IN = or_(
    exists().where(SESSIONS.c.user_id == bindparam("user_id")),
    exists().where(EVENTS.c.actor_id == bindparam("user_id"), EVENTS.c.name == LOGGED_IN),
)
_IS_NEW_NETWORK = select(and_(not_(_FROM_NETWORK.exists()), _HAS_LOGGED_IN))
_BY_ID = SESSION_USER.where(SESSIONS.c.id == bindparam("id"))
_BY_IDS = SESSION_USER.where(SESSIONS.c.id == any_(bindparam("id", type_=IDS)))
_BY_IDS = _BY_IDS.with_only_columns(SESSIONS.c.id.label("key"), *_BY_IDS.selected_columns)
# Locks the user's row. A concurrent change of password, an enrolment or a deactivation that came
# first is seen. A change of password or a deactivation that comes later revokes this session.
_ADD = (
    insert(SESSIONS)
    .from_select(
        [
            "user_id",
            "created_at",
            "last_used_at",
            "expires_at",
            "refresh_hash",
            "user_agent",
            "ip",
            "network",
            "methods",
        ],
        select(
            USERS.c.id,
            bindparam("created_at", type_=Instant),
            bindparam("created_at", type_=Instant),
            bindparam("expires_at", type_=Instant),
            bindparam("refresh_hash", type_=SESSIONS.c.refresh_hash.type),
            bindparam("user_agent", type_=SESSIONS.c.user_agent.type),
            bindparam("ip", type_=SESSIONS.c.ip.type),
            bindparam("network", type_=SESSIONS.c.network.type),
            bindparam("methods", type_=SESSIONS.c.methods.type),
        )
        .where(
            USERS.c.id == bindparam("user_id"),
            USERS.c.is_active,
            USERS.c.password_hash == bindparam("password_hash"),
            USERS.c.second_factor_since.is_not_distinct_from(
                bindparam("second_factor_since", type_=Instant)
            ),
        )
        .with_for_update(read=True),
    )
    .returning(*SESSION.columns)
)


_HASH = bindparam("hash", type_=SESSIONS.c.refresh_hash.type)
_BY_REFRESH_HASH = SESSION_USER.where(
    or_(
        SESSIONS.c.refresh_hash == _HASH,
        SESSIONS.c.id
        == select(ROTATED_TOKENS.c.session_id)
        .where(ROTATED_TOKENS.c.hash == _HASH)
        .scalar_subquery(),
    )
)
_BY_REFRESH_HASH = _BY_REFRESH_HASH.with_only_columns(
    SESSIONS.c.refresh_hash,
    SESSIONS.c.refresh_nonce,
    select(ROTATED_TOKENS.c.spent_at).where(ROTATED_TOKENS.c.hash == _HASH).scalar_subquery(),
    *_BY_REFRESH_HASH.selected_columns,
)
_ROTATE = (
    update(SESSIONS)
    .values(
        refresh_hash=bindparam("new_hash"),
        refresh_nonce=bindparam("nonce"),
        last_used_at=bindparam("used_at"),
        expires_at=bindparam("ends_at"),
    )
    .where(
        SESSIONS.c.id == bindparam("key"),
        SESSIONS.c.refresh_hash == bindparam("used_hash"),
        SESSIONS.c.revoked_at.is_(None),
    )
    .returning(SESSIONS.c.id)
)
_ADD_ROTATED = insert(ROTATED_TOKENS).values(
    hash=bindparam("hash"), session_id=bindparam("session_id"), spent_at=bindparam("spent_at")
)


def _is_live(*conditions: ColumnElement[bool]) -> tuple[ColumnElement[bool], ...]:
    of_user = SESSIONS.c.user_id == bindparam("owner")
    is_unexpired = SESSIONS.c.expires_at > bindparam("now", type_=Instant)
    return (of_user, SESSIONS.c.revoked_at.is_(None), is_unexpired, *conditions)


_BY_USER = (
    select(*SESSION.columns)
    .where(*_is_live())
    .order_by(SESSIONS.c.last_used_at.desc(), SESSIONS.c.id.desc())
    .limit(SESSIONS_MAX)
)
_REVOKE = (
    update(SESSIONS).values(revoked_at=bindparam("now", type_=Instant)).returning(SESSIONS.c.id)
)
_SAVE_PROOF = (
    update(SESSIONS)
    .values(
        methods=bindparam("methods", type_=SESSIONS.c.methods.type),
        last_proof_at=bindparam("proof_at", type_=Instant),
        last_factor_proof_at=bindparam("factor_proof_at", type_=Instant),
    )
    .where(SESSIONS.c.id == bindparam("key"), SESSIONS.c.revoked_at.is_(None))
    .returning(SESSIONS.c.id)
)
_REVOKE_ONE = _REVOKE.where(*_is_live(SESSIONS.c.id == bindparam("key")))
_REVOKE_ALL = _REVOKE.where(*_is_live(SESSIONS.c.id != bindparam("but")))
_REVOKE_SURPLUS = _REVOKE.where(
    *_is_live(SESSIONS.c.id.not_in(_BY_USER.with_only_columns(SESSIONS.c.id)))
)


def session_lookup(database: Database) -> Lookup:
    """Finds a session and its user by the session's id."""
    return lookup(database, one=_BY_ID, many=_BY_IDS, key=["id"])


async def session_user(find: Lookup, key: int | str) -> tuple[Session, User] | None:
    """The session and user that `find` has under `key`; the user is the requester then."""
    record = await find(key)
    if record is None:
        return None
    session, user = _session_user_of(record)
    REQUESTER.set(Requester(user.id, record[-1]))
    return session, user


def _session_user_of(record: Record) -> tuple[Session, User]:
    return SESSION.of(record), USER.of(record[len(SESSION.columns) :])


async def sessions(database: Database, user_id: UserId, now: datetime) -> list[Session]:
    records = await database.fetch_long(_BY_USER, reader=user_id, owner=user_id, now=now)
    return [SESSION.of(record) for record in records]


async def refresh_lookup(database: Database, refresh_hash: str) -> RefreshLookup | None:
    records = await database.fetch(_BY_REFRESH_HASH, hash=refresh_hash)
    if not records:
        return None
    current_hash, nonce, rotated_at, *record = records[0]
    session, user = _session_user_of(record)
    chain = RefreshChain(current_hash=current_hash, nonce=nonce, rotated_at=rotated_at)
    return RefreshLookup(session=session, user=user, chain=chain)


async def has_logged_in_from(database: Database, user_id: UserId, network: str) -> bool:
    return bool(await database.fetch(_FROM_NETWORK, user_id=user_id, network=network))


async def is_new_network(database: Database, user_id: UserId, network: str) -> bool:
    ((is_new,),) = await database.fetch(_IS_NEW_NETWORK, user_id=user_id, network=network)
    return bool(is_new)


class SqlSessions(Sessions):
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def add(self, session: NewSession, password: PasswordHash) -> Session:
        records = await self._transaction.fetch(
            _ADD,
            user_id=session.user_id,
            password_hash=password,
            created_at=session.created_at,
            expires_at=session.expires_at,
            refresh_hash=session.refresh_hash,
            user_agent=session.user_agent,
            ip=session.ip,
            network=network_of(session.ip),
            methods=session.methods,
            second_factor_since=session.second_factor_since,
        )
        if not records:
            raise InvalidCredentials
        await self._transaction.fetch(
            _REVOKE_SURPLUS, owner=session.user_id, now=session.created_at
        )
        return SESSION.of(records[0])

    async def rotate(self, session: Session, *, used_hash: str, new_hash: str, nonce: str) -> bool:
        rotated = await self._transaction.fetch(
            _ROTATE,
            key=session.id,
            used_hash=used_hash,
            new_hash=new_hash,
            nonce=nonce,
            used_at=session.last_used_at,
            ends_at=session.expires_at,
        )
        if not rotated:
            return False
        await self._transaction.fetch(
            _ADD_ROTATED, hash=used_hash, session_id=session.id, spent_at=session.last_used_at
        )
        return True

    async def save_proof(self, session: Session) -> bool:
        saved = await self._transaction.fetch(
            _SAVE_PROOF,
            key=session.id,
            methods=session.methods,
            proof_at=session.last_proof_at,
            factor_proof_at=session.last_factor_proof_at,
        )
        return bool(saved)

    async def revoke(self, session_id: SessionId, user_id: UserId, now: datetime) -> bool:
        revoked = await self._transaction.fetch(_REVOKE_ONE, key=session_id, owner=user_id, now=now)
        return bool(revoked)

    async def revoke_all(
        self, user_id: UserId, now: datetime, *, but: SessionId | None = None
    ) -> int:
        # No session has the id 0.
        revoked = await self._transaction.fetch(_REVOKE_ALL, owner=user_id, now=now, but=but or 0)
        return len(revoked)
