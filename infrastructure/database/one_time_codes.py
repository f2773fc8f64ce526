"""One-time codes: row, mapping and repository."""

from datetime import datetime

from sqlalchemy import bindparam, delete, insert, select
from sqlmodel import Field

from domain.one_time_codes import OneTimeCode, Purpose
from domain.users import User, UserId
from infrastructure.database.driver.rows import Row, identity, moment, reference, table
from infrastructure.database.driver.statements import Database, Transaction
from infrastructure.database.users import USER_COLUMNS, USERS, user_of


class OneTimeCodeRow(Row, table=True):
    __tablename__ = "one_time_codes"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: int | None = identity()
    user_id: int = reference("users.id", index=True)
    purpose: str
    code_hash: str = Field(unique=True)
    expires_at: datetime = moment()


CODES = table(OneTimeCodeRow)

_BY_HASH = (
    select(CODES.c.purpose, CODES.c.expires_at, *USER_COLUMNS)
    .join(USERS, USERS.c.id == CODES.c.user_id)
    .where(CODES.c.code_hash == bindparam("code_hash"))
)
_ADD = insert(CODES).values(
    user_id=bindparam("user_id"),
    purpose=bindparam("purpose"),
    code_hash=bindparam("code_hash"),
    expires_at=bindparam("expires_at"),
)
_USE = delete(CODES).where(CODES.c.code_hash == bindparam("used")).returning(CODES.c.id)
_END_ALL = delete(CODES).where(CODES.c.user_id == bindparam("owner"))


async def code(database: Database, code_hash: str) -> tuple[OneTimeCode, User] | None:
    records = await database.fetch(_BY_HASH, code_hash=code_hash)
    if not records:
        return None
    purpose, expires_at, *columns = records[0]
    user = user_of(columns)
    found = OneTimeCode(
        user_id=user.id, purpose=Purpose(purpose), code_hash=code_hash, expires_at=expires_at
    )
    return found, user


class SqlOneTimeCodes:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def add(self, code: OneTimeCode) -> None:
        await self._transaction.fetch(
            _ADD,
            user_id=code.user_id,
            purpose=code.purpose.value,
            code_hash=code.code_hash,
            expires_at=code.expires_at,
        )

    async def consume(self, code_hash: str) -> bool:
        return bool(await self._transaction.fetch(_USE, used=code_hash))

    async def delete_all(self, user_id: UserId) -> None:
        await self._transaction.fetch(_END_ALL, owner=user_id)
