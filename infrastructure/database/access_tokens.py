"""Opaque access tokens: row and statements."""

from datetime import datetime
from typing import Any

from sqlalchemy import Column, any_, bindparam, delete, insert, select
from sqlmodel import Field

from domain.sessions import Session
from domain.users import User
from infrastructure.database.driver.lookups import Lookup, lookup
from infrastructure.database.driver.rows import IDS, BigId, Row, moment, reference, table
from infrastructure.database.driver.statements import Database, Record
from infrastructure.database.sessions import SESSION_COLUMNS, SESSIONS, session_user_of
from infrastructure.database.users import USER_COLUMNS, USERS


class AccessTokenRow(Row, table=True):
    __tablename__ = "access_tokens"

    id: int = Field(sa_column=Column(BigId, primary_key=True, autoincrement=False))
    """The first 63 bits of the hash: a number, to be looked up as all else is."""
    hash: str
    session_id: int = reference("sessions.id", index=True)
    issued_at: datetime = moment()
    expires_at: datetime = moment()


ACCESS_TOKENS = table(AccessTokenRow)

_FOUND = (
    select(
        ACCESS_TOKENS.c.hash,
        ACCESS_TOKENS.c.issued_at,
        ACCESS_TOKENS.c.expires_at,
        *SESSION_COLUMNS,
        *USER_COLUMNS,
    )
    .join(SESSIONS, SESSIONS.c.id == ACCESS_TOKENS.c.session_id)
    .join(USERS, USERS.c.id == SESSIONS.c.user_id)
)
_BY_ID = _FOUND.where(ACCESS_TOKENS.c.id == bindparam("id"))
_BY_IDS = _FOUND.where(ACCESS_TOKENS.c.id == any_(bindparam("id", type_=IDS)))
_BY_IDS = _BY_IDS.with_only_columns(ACCESS_TOKENS.c.id.label("key"), *_BY_IDS.selected_columns)
_ADD = insert(ACCESS_TOKENS).values(
    {name: bindparam(name) for name in ("id", "hash", "session_id", "issued_at", "expires_at")}
)
_FORGET = delete(ACCESS_TOKENS).where(
    ACCESS_TOKENS.c.session_id == bindparam("of_session"),
    ACCESS_TOKENS.c.expires_at <= bindparam("now"),
)


def access_token_lookup(database: Database) -> Lookup:
    """Finds the token with an id, its session and its user."""
    return lookup(database, one=_BY_ID, many=_BY_IDS, key=["id"])


def found_of(record: Record) -> tuple[str, datetime, datetime, Session, User]:
    """Hash, start and end of a token, and who it speaks for."""
    hash_, issued_at, expires_at, *rest = record
    return hash_, issued_at, expires_at, *session_user_of(rest)


async def add(database: Database, *, now: datetime, session_id: int, **values: Any) -> None:
    """Store a token, and forget those of its session that have expired at `now`.

    Raises `ConstraintViolated` when the session is gone.
    """
    async with database.transaction() as transaction:
        await transaction.fetch(_FORGET, of_session=session_id, now=now)
        await transaction.fetch(_ADD, session_id=session_id, **values)
        await transaction.commit()
