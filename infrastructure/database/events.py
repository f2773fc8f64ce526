"""The audit: row, mapping and the statement that records."""

import json
import logging
from datetime import datetime

from sqlalchemy import bindparam, insert, select
from sqlmodel import Field

from application.ports.queries import AuditEntry
from application.request_info import REQUEST_INFO
from domain.events import Event, EventId
from domain.pages import InvalidCursor, Page
from infrastructure.database.driver.rows import BigId, Row, identity, moment, table
from infrastructure.database.driver.statements import Database, Record, Transaction

_LOG = logging.getLogger("gatepost.audit")


class EventRow(Row, table=True):
    __tablename__ = "events"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: int | None = identity()
    at: datetime = moment()
    name: str
    # No foreign key: what somebody did is still so when they are gone.
    actor_id: int | None = Field(sa_type=BigId)
    subject: str
    details: str
    request_id: str | None
    ip: str | None


EVENTS = table(EventRow)

_COLUMNS = (
    EVENTS.c.id,
    EVENTS.c.at,
    EVENTS.c.name,
    EVENTS.c.actor_id,
    EVENTS.c.subject,
    EVENTS.c.details,
    EVENTS.c.request_id,
    EVENTS.c.ip,
)
_ADD = insert(EVENTS).values({column: bindparam(column.name) for column in _COLUMNS[1:]})
_NEWEST = (
    select(*_COLUMNS).order_by(EVENTS.c.id.desc()).limit(bindparam("limit", type_=EVENTS.c.id.type))
)
_BEFORE = _NEWEST.where(EVENTS.c.id < bindparam("before"))


def record(transaction: Transaction, event: Event) -> None:
    origin = REQUEST_INFO.get()
    transaction.defer(
        _ADD,
        at=event.at,
        name=event.name,
        actor_id=event.actor_id,
        subject=event.subject,
        details=json.dumps(dict(event.details)),
        request_id=origin.request_id,
        ip=origin.ip,
    )


def log(event: Event) -> None:
    """A line for an event that is stored."""
    origin = REQUEST_INFO.get()
    fields = {
        "actor_id": event.actor_id,
        "subject": event.subject,
        **event.details,
        "request_id": origin.request_id,
        "ip": origin.ip,
    }
    _LOG.info(event.name, extra={"fields": fields})


async def events(database: Database, limit: int, after: tuple[int, ...] | None) -> Page[AuditEntry]:
    if after is None:
        records = await database.fetch_long(_NEWEST, limit=limit + 1)
    elif len(after) == 1:
        records = await database.fetch_long(_BEFORE, limit=limit + 1, before=after[0])
    else:
        raise InvalidCursor
    items = [_entry_of(record) for record in records[:limit]]
    return Page(items, next=(items[-1].id,) if len(records) > limit else None)


def _entry_of(record: Record) -> AuditEntry:
    id_, at, name, actor_id, subject, details, request_id, ip = record
    event = Event(name=name, actor_id=actor_id, subject=subject, at=at, details=json.loads(details))
    return AuditEntry(id=EventId(id_), event=event, request_id=request_id, ip=ip)
