"""One-time codes: row, mapping and repository."""

from dataclasses import replace
from datetime import datetime

from sqlalchemy import bindparam, delete, func, not_, or_, select
from sqlmodel import Field

from application.ports.storage import OneTimeCodes
from domain.addresses import email_key
from domain.one_time_codes import OneTimeCode, Purpose
from domain.users import User, UserId
from infrastructure.database.driver.exported import OWNER, Exported
from infrastructure.database.driver.mapping import Mapping
from infrastructure.database.driver.rows import Row, primary_key, reference, timestamp_column
from infrastructure.database.driver.statements import Database, Transaction
from infrastructure.database.users import USER, USERS


class OneTimeCodeRow(Row, table=True):
    __tablename__ = "one_time_codes"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: int | None = primary_key()
    user_id: int = reference("users.id", index=True)
    purpose: str
    code_hash: str = Field(unique=True)
    expires_at: datetime = timestamp_column()
    email: str | None
    email_key: str | None = Field(index=True)


CODE = Mapping(OneTimeCodeRow, OneTimeCode)
CODES = CODE.table
EXPORTED = (
    Exported(
        "one_time_codes",
        [CODES.c.purpose, CODES.c.email, CODES.c.expires_at],
        owned=CODES.c.user_id == OWNER,
        key=CODES.c.id,
    ),
)

_BY_HASH = (
    select(*CODE.columns, *USER.columns)
    .join(USERS, USERS.c.id == CODES.c.user_id)
    .where(CODES.c.code_hash == bindparam("code_hash"))
)
_CONSUME = delete(CODES).where(CODES.c.code_hash == bindparam("used")).returning(CODES.c.id)
_UNDOES = CODES.c.purpose == Purpose.EMAIL_CHANGE_UNDO.value
_DELETE_ALL = delete(CODES).where(CODES.c.user_id == bindparam("owner"), not_(_UNDOES))
_FIRST_UNDO = (
    select(func.min(CODES.c.expires_at))
    .where(CODES.c.user_id == bindparam("owner"), _UNDOES, CODES.c.email == bindparam("address"))
    .scalar_subquery()
)
_DELETE_UNDOS = delete(CODES).where(
    CODES.c.user_id == bindparam("owner"),
    _UNDOES,
    or_(CODES.c.expires_at >= bindparam("since"), CODES.c.expires_at >= _FIRST_UNDO),
)
_RESERVES = (
    select(CODES.c.id)
    .where(
        CODES.c.email_key == bindparam("email_key"),
        _UNDOES,
        CODES.c.expires_at > bindparam("now"),
        CODES.c.user_id != bindparam("but"),
    )
    .limit(1)
)


async def code(database: Database, code_hash: str) -> tuple[OneTimeCode, User] | None:
    records = await database.fetch(_BY_HASH, code_hash=code_hash)
    if not records:
        return None
    found, user = CODE.of(records[0]), USER.of(records[0][len(CODE.columns) :])
    # Codes from before revision 0012 have no address: they were deleted when the address changed.
    return replace(found, email=found.email or user.email), user


class SqlOneTimeCodes(OneTimeCodes):
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def add(self, code: OneTimeCode) -> None:
        values = CODE.values(code)
        self._transaction.defer(CODE.insert, **values, email_key=email_key(code.email))

    async def consume(self, code_hash: str) -> bool:
        return bool(await self._transaction.fetch(_CONSUME, used=code_hash))

    async def delete_all(self, user_id: UserId) -> None:
        await self._transaction.fetch(_DELETE_ALL, owner=user_id)

    async def delete_undos(self, code: OneTimeCode) -> None:
        await self._transaction.fetch(
            _DELETE_UNDOS, owner=code.user_id, address=code.email, since=code.expires_at
        )

    async def reserves(self, email: str, now: datetime, *, but: UserId | None = None) -> bool:
        return bool(
            await self._transaction.fetch(
                _RESERVES, email_key=email_key(email), now=now, but=but or UserId(0)
            )
        )
