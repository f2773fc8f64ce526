"""The outbox: row, mapping and repository."""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, bindparam, delete, func, or_, select, update
from sqlmodel import Field

from application.ports.storage import (
    BUSY_HOSTS_MAX,
    Outbox,
    OutboxMessage,
    OutboxMessageId,
    OutboxStatus,
)
from application.request_info import REQUEST_INFO
from domain.addresses import host_of
from domain.notices import Notice
from domain.one_time_codes import Purpose
from domain.users import UserId
from infrastructure.database.driver.mapping import Mapping
from infrastructure.database.driver.rows import BigId, Instant, Row, primary_key, timestamp_column
from infrastructure.database.driver.statements import Transaction


class LetterRow(Row, table=True):
    __tablename__ = "outbox"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: int | None = primary_key()
    purpose: str
    # No foreign key: whose address it is, if anybody's, is looked up when the mail is written.
    email: str
    due_at: datetime = timestamp_column(index=True)
    attempts: int = Field(sa_column_kwargs={"server_default": "0"})
    request_id: str | None
    ip: str | None
    # No foreign key either: a message to a user who is gone is dropped when it would be written.
    user_id: int | None = Field(sa_type=BigId, default=None)
    added_at: datetime | None = timestamp_column(nullable=True)
    host: str | None


MESSAGE = Mapping(LetterRow, OutboxMessage)
OUTBOX = MESSAGE.table

_BUSY = [f"busy_{number}" for number in range(BUSY_HOSTS_MAX)]
_DUE = (
    select(OUTBOX.c.id)
    .where(
        OUTBOX.c.due_at <= bindparam("now"),
        or_(OUTBOX.c.host.is_(None), OUTBOX.c.host.not_in([bindparam(name) for name in _BUSY])),
    )
    .order_by(OUTBOX.c.due_at, OUTBOX.c.id)
    .limit(1)
    .with_for_update(skip_locked=True)
)
# Letters from before revision 0012 do not say when they were added.
_ADDED_AT = func.coalesce(OUTBOX.c.added_at, bindparam("now", type_=Instant))
_CLAIM = (
    update(OUTBOX)
    .values(due_at=bindparam("until"), attempts=OUTBOX.c.attempts + 1)
    .where(OUTBOX.c.id == _DUE.scalar_subquery())
    .returning(*(_ADDED_AT if c is OUTBOX.c.added_at else c for c in MESSAGE.columns))
)
_POSTPONE = update(OUTBOX).values(due_at=bindparam("until")).where(OUTBOX.c.id == bindparam("key"))
_REMOVE = delete(OUTBOX).where(OUTBOX.c.id == bindparam("key"))
_FIGURES: tuple[ColumnElement[Any], ...] = (func.count(), func.min(OUTBOX.c.added_at))
_STATUS = select(*_FIGURES).select_from(OUTBOX)


_NOTICES = {notice.value: notice for notice in Notice}


def _purpose(text: str) -> Purpose | Notice:
    return _NOTICES.get(text) or Purpose(text)


class SqlOutbox(Outbox):
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def add(
        self,
        purpose: Purpose | Notice,
        email: str,
        now: datetime,
        *,
        user_id: UserId | None = None,
    ) -> None:
        message = OutboxMessage(
            id=OutboxMessageId(0),
            purpose=purpose,
            email=email,
            user_id=user_id,
            added_at=now,
            attempts=0,
            origin=REQUEST_INFO.get(),
        )
        values = MESSAGE.values(message) | {"due_at": now, "host": host_of(email)}
        del values["id"]
        await self._transaction.add(MESSAGE.insert_numbered, **values)

    async def claim(
        self, now: datetime, *, until: datetime, busy: Collection[str] = ()
    ) -> OutboxMessage | None:
        hosts = dict.fromkeys(_BUSY, "") | dict(zip(_BUSY, busy, strict=False))
        records = await self._transaction.fetch(_CLAIM, now=now, until=until, **hosts)
        if not records:
            return None
        message = MESSAGE.of(records[0])
        return replace(message, purpose=_purpose(message.purpose))

    async def postpone(self, message_id: OutboxMessageId, *, until: datetime) -> None:
        await self._transaction.fetch(_POSTPONE, key=message_id, until=until)

    async def remove(self, message_id: OutboxMessageId) -> None:
        await self._transaction.fetch(_REMOVE, key=message_id)

    async def status(self) -> OutboxStatus:
        ((waiting, oldest),) = await self._transaction.fetch(_STATUS)
        return OutboxStatus(waiting, oldest)
