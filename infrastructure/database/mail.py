"""The outbox: row, mapping and repository."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, bindparam, delete, func, insert, or_, select, update
from sqlmodel import Field

from application.ports.storage import (
    BUSY_HOSTS_MAX,
    Outbox,
    OutboxMessage,
    OutboxMessageId,
    OutboxStatus,
)
from application.request_info import REQUEST_INFO, RequestInfo
from domain.addresses import host_of
from domain.one_time_codes import Purpose
from domain.users import UserId
from infrastructure.database.driver.rows import BigId, Row, primary_key, table, timestamp_column
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
    # No foreign key either: a letter to a user who is gone is dropped when it would be written.
    user_id: int | None = Field(sa_type=BigId, default=None)
    added_at: datetime | None = timestamp_column(nullable=True)
    host: str | None


OUTBOX = table(LetterRow)

_ADD = insert(OUTBOX).values(
    purpose=bindparam("purpose"),
    email=bindparam("email"),
    due_at=bindparam("due_at"),
    request_id=bindparam("request_id"),
    ip=bindparam("ip"),
    user_id=bindparam("user_id"),
    added_at=bindparam("due_at"),
    host=bindparam("host"),
)
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
_CLAIM = (
    update(OUTBOX)
    .values(due_at=bindparam("until"), attempts=OUTBOX.c.attempts + 1)
    .where(OUTBOX.c.id == _DUE.scalar_subquery())
    .returning(
        OUTBOX.c.id,
        OUTBOX.c.purpose,
        OUTBOX.c.email,
        OUTBOX.c.attempts,
        OUTBOX.c.request_id,
        OUTBOX.c.ip,
        OUTBOX.c.user_id,
        OUTBOX.c.added_at,
    )
)
_POSTPONE = update(OUTBOX).values(due_at=bindparam("until")).where(OUTBOX.c.id == bindparam("key"))
_REMOVE = delete(OUTBOX).where(OUTBOX.c.id == bindparam("key"))
_FIGURES: tuple[ColumnElement[Any], ...] = (func.count(), func.min(OUTBOX.c.added_at))
_STATUS = select(*_FIGURES).select_from(OUTBOX)


class SqlOutbox(Outbox):
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def add(
        self, purpose: Purpose, email: str, now: datetime, *, user_id: UserId | None = None
    ) -> None:
        origin = REQUEST_INFO.get()
        await self._transaction.fetch(
            _ADD,
            purpose=purpose.value,
            email=email,
            due_at=now,
            request_id=origin.request_id,
            ip=origin.ip,
            user_id=user_id,
            host=host_of(email),
        )

    async def claim(
        self, now: datetime, *, until: datetime, busy: Collection[str] = ()
    ) -> OutboxMessage | None:
        hosts = dict.fromkeys(_BUSY, "") | dict(zip(_BUSY, busy, strict=False))
        records = await self._transaction.fetch(_CLAIM, now=now, until=until, **hosts)
        if not records:
            return None
        id_, purpose, email, attempts, request_id, ip, user_id, added_at = records[0]
        return OutboxMessage(
            id=OutboxMessageId(id_),
            purpose=Purpose(purpose),
            email=email,
            user_id=None if user_id is None else UserId(user_id),
            added_at=added_at or now,  # of before revision 0012: not known
            attempts=attempts,
            origin=RequestInfo(request_id, ip),
        )

    async def postpone(self, message_id: OutboxMessageId, *, until: datetime) -> None:
        await self._transaction.fetch(_POSTPONE, key=message_id, until=until)

    async def remove(self, message_id: OutboxMessageId) -> None:
        await self._transaction.fetch(_REMOVE, key=message_id)

    async def status(self) -> OutboxStatus:
        ((waiting, oldest),) = await self._transaction.fetch(_STATUS)
        return OutboxStatus(waiting, oldest)
