"""The outbox: row, mapping and repository."""

from datetime import datetime

from sqlalchemy import bindparam, delete, insert, select, update
from sqlmodel import Field

from application.ports.storage import Outbox, OutboxMessage, OutboxMessageId
from application.request_info import REQUEST_INFO, RequestInfo
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


OUTBOX = table(LetterRow)

_ADD = insert(OUTBOX).values(
    purpose=bindparam("purpose"),
    email=bindparam("email"),
    due_at=bindparam("due_at"),
    request_id=bindparam("request_id"),
    ip=bindparam("ip"),
    user_id=bindparam("user_id"),
    added_at=bindparam("due_at"),
)
_DUE = (
    select(OUTBOX.c.id)
    .where(OUTBOX.c.due_at <= bindparam("now"))
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
        )

    async def claim(self, now: datetime, *, until: datetime) -> OutboxMessage | None:
        records = await self._transaction.fetch(_CLAIM, now=now, until=until)
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

    async def postpone(self, letter_id: OutboxMessageId, *, until: datetime) -> None:
        await self._transaction.fetch(_POSTPONE, key=letter_id, until=until)

    async def remove(self, letter_id: OutboxMessageId) -> None:
        await self._transaction.fetch(_REMOVE, key=letter_id)
