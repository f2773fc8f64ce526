"""Sessions of browsers: they are found by their cookie, and slide."""

from sqlalchemy import String, any_, bindparam, update
from sqlalchemy.dialects.postgresql import ARRAY

from application.ports.browser import BrowserQueries, BrowserSessions
from domain.sessions import Session
from domain.users import User
from infrastructure.database.driver.lookups import lookup
from infrastructure.database.driver.rows import Instant
from infrastructure.database.driver.statements import Database, Transaction
from infrastructure.database.sessions import SESSION_USER, SESSIONS, session_user

_BY_COOKIE = SESSION_USER.where(SESSIONS.c.refresh_hash == bindparam("hash"))
_BY_COOKIES = SESSION_USER.where(
    SESSIONS.c.refresh_hash == any_(bindparam("hash", type_=ARRAY(String)))
)
_BY_COOKIES = _BY_COOKIES.with_only_columns(
    SESSIONS.c.refresh_hash.label("key"), *_BY_COOKIES.selected_columns
)
_SLIDE = (
    update(SESSIONS)
    .values(last_used_at=bindparam("used_at"), expires_at=bindparam("ends_at"))
    .where(
        SESSIONS.c.id == bindparam("key"),
        SESSIONS.c.revoked_at.is_(None),
        SESSIONS.c.last_used_at < bindparam("used_at", type_=Instant),
    )
    .returning(SESSIONS.c.id)
)


class SqlBrowserQueries(BrowserQueries):
    def __init__(self, database: Database) -> None:
        self._find = lookup(database, one=_BY_COOKIE, many=_BY_COOKIES, key=["hash"])

    async def session_user(self, cookie_hash: str) -> tuple[Session, User] | None:
        return await session_user(self._find, cookie_hash)


class SqlBrowserSessions(BrowserSessions):
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def slide(self, session: Session) -> None:
        await self._transaction.fetch(
            _SLIDE, key=session.id, used_at=session.last_used_at, ends_at=session.expires_at
        )
