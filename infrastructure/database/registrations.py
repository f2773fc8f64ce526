"""Pending registrations: row, mapping and repository."""

from datetime import datetime

from sqlalchemy import bindparam, delete, update
from sqlmodel import Field

from application.ports.passwords import PasswordHash
from application.ports.registrations import Registrations
from domain.registrations import NewRegistration, PendingRegistration, RegistrationId
from infrastructure.database.driver.mapping import Mapping
from infrastructure.database.driver.rows import Row, primary_key, timestamp_column
from infrastructure.database.driver.statements import Transaction


class RegistrationRow(Row, table=True):
    __tablename__ = "registrations"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: int | None = primary_key()
    # Several may wait for one address: anybody can ask, and only its owner completes one.
    email: str
    name: str | None
    requested_at: datetime = timestamp_column()
    code_hash: str | None = Field(unique=True)
    password_hash: str


REGISTRATION = Mapping(RegistrationRow, PendingRegistration)
REGISTRATIONS = REGISTRATION.table

_SET_CODE = (
    update(REGISTRATIONS)
    .values(code_hash=bindparam("new_hash"))
    .where(REGISTRATIONS.c.id == bindparam("key"))
)
_CONSUME = (
    delete(REGISTRATIONS)
    .where(REGISTRATIONS.c.code_hash == bindparam("used"))
    .returning(*REGISTRATION.columns, REGISTRATIONS.c.password_hash)
)
_REMOVE = delete(REGISTRATIONS).where(REGISTRATIONS.c.id == bindparam("key"))


class SqlRegistrations(Registrations):
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def add(self, new: NewRegistration, password: PasswordHash) -> PendingRegistration:
        values = REGISTRATION.values(new.stored_as(0)) | {"password_hash": password}
        del values["id"]
        return new.stored_as(await self._transaction.add(REGISTRATION.insert_numbered, **values))

    async def get(self, registration_id: RegistrationId) -> PendingRegistration | None:
        records = await self._transaction.fetch(REGISTRATION.locked, id=registration_id)
        return REGISTRATION.of(records[0]) if records else None

    async def set_code(self, registration_id: RegistrationId, code_hash: str) -> None:
        await self._transaction.fetch(_SET_CODE, key=registration_id, new_hash=code_hash)

    async def consume(self, code_hash: str) -> tuple[PendingRegistration, PasswordHash] | None:
        records = await self._transaction.fetch(_CONSUME, used=code_hash)
        if not records:
            return None
        return REGISTRATION.of(records[0]), PasswordHash(records[0][-1])

    async def remove(self, registration_id: RegistrationId) -> None:
        await self._transaction.fetch(_REMOVE, key=registration_id)
