"""Authenticator apps and recovery codes: rows and repository."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import bindparam, delete, func, select, update
from sqlmodel import Field

from application.ports.factors import FactorQueries, FactorRepository, FactorStatus
from domain.factors import Totp
from domain.users import UserId
from infrastructure.database.driver.exported import OWNER, Exported
from infrastructure.database.driver.mapping import Mapping
from infrastructure.database.driver.rows import BigId, Row, reference, table, timestamp_column
from infrastructure.database.driver.statements import Database, Transaction


class TotpRow(Row, table=True):
    __tablename__ = "totp"

    user_id: int = reference("users.id", primary_key=True)
    sealed_secret: str
    created_at: datetime = timestamp_column()
    confirmed_at: datetime | None = timestamp_column()
    last_step: int = Field(sa_type=BigId)


class RecoveryCodeRow(Row, table=True):
    __tablename__ = "recovery_codes"

    code_hash: str = Field(primary_key=True)
    user_id: int = reference("users.id", index=True)


TOTP = Mapping(TotpRow, Totp)
TOTPS = TOTP.table

EXPORTED = (
    Exported(
        "totp",
        [TOTPS.c.created_at, TOTPS.c.confirmed_at],
        owned=TOTPS.c.user_id == OWNER,
        key=TOTPS.c.user_id,
    ),
)
RECOVERY_CODES = table(RecoveryCodeRow)

_OWNER = bindparam("owner", type_=BigId)
_OF_USER = select(*TOTP.columns).where(TOTPS.c.user_id == _OWNER)
_REMOVE = delete(TOTPS).where(TOTPS.c.user_id == _OWNER)
_CLAIM = (
    update(TOTPS)
    .values(last_step=bindparam("step", type_=BigId))
    .where(TOTPS.c.user_id == _OWNER, TOTPS.c.last_step < bindparam("step", type_=BigId))
    .returning(TOTPS.c.user_id)
)
_ADD_CODE = RECOVERY_CODES.insert().values(
    code_hash=bindparam("code_hash"), user_id=bindparam("owner", type_=BigId)
)
_REMOVE_CODES = delete(RECOVERY_CODES).where(RECOVERY_CODES.c.user_id == _OWNER)
_CONSUME = (
    delete(RECOVERY_CODES)
    .where(
        RECOVERY_CODES.c.user_id == _OWNER,
        RECOVERY_CODES.c.code_hash == bindparam("code_hash"),
    )
    .returning(RECOVERY_CODES.c.user_id)
)
_STATUS = select(
    select(TOTPS.c.confirmed_at).where(TOTPS.c.user_id == _OWNER).scalar_subquery(),
    select(func.count()).where(RECOVERY_CODES.c.user_id == _OWNER).scalar_subquery(),
)


class SqlFactorQueries(FactorQueries):
    def __init__(self, database: Database) -> None:
        self._database = database

    async def status(self, user_id: UserId) -> FactorStatus:
        ((confirmed_at, codes),) = await self._database.fetch(_STATUS, owner=user_id)
        return FactorStatus(totp_confirmed_at=confirmed_at, recovery_codes_left=codes)


class SqlFactors(FactorRepository):
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def totp(self, user_id: UserId) -> Totp | None:
        records = await self._transaction.fetch(_OF_USER, owner=user_id)
        return TOTP.of(records[0]) if records else None

    async def put_totp(self, totp: Totp) -> None:
        await self.remove_totp(totp.user_id)
        await self._transaction.fetch(TOTP.insert, **TOTP.values(totp))

    async def claim_step(self, user_id: UserId, step: int) -> bool:
        return bool(await self._transaction.fetch(_CLAIM, owner=user_id, step=step))

    async def remove_totp(self, user_id: UserId) -> None:
        await self._transaction.fetch(_REMOVE, owner=user_id)

    async def replace_recovery_codes(self, user_id: UserId, hashes: Collection[str]) -> None:
        await self._transaction.fetch(_REMOVE_CODES, owner=user_id)
        for code_hash in hashes:
            self._transaction.defer(_ADD_CODE, code_hash=code_hash, owner=user_id)

    async def consume_recovery_code(self, user_id: UserId, code_hash: str) -> bool:
        return bool(await self._transaction.fetch(_CONSUME, owner=user_id, code_hash=code_hash))
