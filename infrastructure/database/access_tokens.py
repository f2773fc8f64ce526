"""Opaque access tokens: row and statements."""

import hmac
from datetime import datetime

from sqlalchemy import Column, any_, bindparam, delete, insert, select
from sqlmodel import Field

from application.ports.storage import AccessTokens
from application.ports.tokens import Claims
from domain.sessions import SessionId
from domain.users import UserId
from infrastructure.database.driver.lookups import Lookup, lookup
from infrastructure.database.driver.rows import IDS, BigId, Row, reference, table, timestamp_column
from infrastructure.database.driver.statements import Database, Transaction
from infrastructure.database.sessions import SESSIONS


class AccessTokenRow(Row, table=True):
    __tablename__ = "access_tokens"

    id: int = Field(sa_column=Column(BigId, primary_key=True, autoincrement=False))
    """The first 63 bits of the hash: shared lookups look up numbers."""
    hash: str
    session_id: int = reference("sessions.id", index=True)
    issued_at: datetime = timestamp_column()
    expires_at: datetime = timestamp_column()


ACCESS_TOKENS = table(AccessTokenRow)

# The token names its session, and the session its user.
_FOUND = select(
    ACCESS_TOKENS.c.hash,
    SESSIONS.c.user_id,
    ACCESS_TOKENS.c.session_id,
    ACCESS_TOKENS.c.issued_at,
    ACCESS_TOKENS.c.expires_at,
).join(SESSIONS, SESSIONS.c.id == ACCESS_TOKENS.c.session_id)
_BY_ID = _FOUND.where(ACCESS_TOKENS.c.id == bindparam("id"))
_BY_IDS = _FOUND.where(ACCESS_TOKENS.c.id == any_(bindparam("id", type_=IDS)))
_BY_IDS = _BY_IDS.with_only_columns(ACCESS_TOKENS.c.id.label("key"), *_BY_IDS.selected_columns)
_ADD = insert(ACCESS_TOKENS).values(
    {name: bindparam(name) for name in ("id", "hash", "session_id", "issued_at", "expires_at")}
)
_REMOVE_EXPIRED = delete(ACCESS_TOKENS).where(
    ACCESS_TOKENS.c.session_id == bindparam("of_session"),
    ACCESS_TOKENS.c.expires_at <= bindparam("now"),
)


def _id(token_hash: str) -> int:
    return int(token_hash[:16], 16) >> 1


def access_token_lookup(database: Database) -> Lookup:
    """Finds the token with an id."""
    return lookup(database, one=_BY_ID, many=_BY_IDS, key=["id"])


async def access_token(find: Lookup, token_hash: str) -> Claims | None:
    """The claims of the stored token with this hash, expired or not."""
    record = await find(_id(token_hash))
    if record is None:
        return None
    stored_hash, user_id, session_id, issued_at, expires_at = record
    if not hmac.compare_digest(stored_hash, token_hash):
        return None
    return Claims(
        user_id=UserId(user_id),
        session_id=SessionId(session_id),
        issued_at=issued_at,
        expires_at=expires_at,
    )


class SqlAccessTokens(AccessTokens):
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def add(
        self,
        token_hash: str,
        *,
        session_id: SessionId,
        issued_at: datetime,
        expires_at: datetime,
    ) -> None:
        await self._transaction.fetch(_REMOVE_EXPIRED, of_session=session_id, now=issued_at)
        self._transaction.defer(
            _ADD,
            id=_id(token_hash),
            hash=token_hash,
            session_id=session_id,
            issued_at=issued_at,
            expires_at=expires_at,
        )
