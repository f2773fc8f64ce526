"""The audit: row, mapping, the statement that records and the list."""

import logging
from datetime import datetime

from sqlalchemy import Index, bindparam, insert, select, text
from sqlmodel import Field

from application.ports.queries import AuditEntry
from application.request_info import REQUEST_INFO
from domain.events import Event, EventId
from domain.pages import InvalidCursor, Page
from domain.posts import POST_WRITTEN
from infrastructure.database.driver.mapping import Mapping
from infrastructure.database.driver.rows import BigId, Json, Row, identity, moment
from infrastructure.database.driver.statements import Database, Transaction

_LOG = logging.getLogger("gatepost.audit")


class EventRow(Row, table=True):
    __tablename__ = "events"
    __table_args__ = (
        # For quotas: deleting a post leaves its event.
        Index(
            "ix_events_post_written",
            "actor_id",
            "id",
            postgresql_where=text(f"name = '{POST_WRITTEN}'"),
            sqlite_where=text(f"name = '{POST_WRITTEN}'"),
        ),
        {"sqlite_autoincrement": True},
    )

    id: int | None = identity()
    at: datetime = moment()
    name: str
    # No foreign key: events outlive the user who caused them.
    actor_id: int | None = Field(sa_type=BigId)
    subject: str
    details: str = Field(sa_type=Json)
    request_id: str | None
    ip: str | None


EVENT = Mapping(EventRow, AuditEntry)
EVENTS = EVENT.table

_ADD = insert(EVENTS).values(
    {column: bindparam(column.name) for column in EVENTS.c if column is not EVENTS.c.id}
)
_NEWEST = (
    select(*EVENT.columns)
    .order_by(EVENTS.c.id.desc())
    .limit(bindparam("limit", type_=EVENTS.c.id.type))
)
_BEFORE = _NEWEST.where(EVENTS.c.id < bindparam("before"))


def record(transaction: Transaction, event: Event) -> None:
    """Store `event` with the commit, and with it the request that the change came with."""
    info = REQUEST_INFO.get()
    entry = AuditEntry(id=EventId(0), event=event, request_id=info.request_id, ip=info.ip)
    transaction.defer(_ADD, **EVENT.values(entry))


def log(event: Event) -> None:
    """Write the log line of an event that has been stored."""
    info = REQUEST_INFO.get()
    fields = {
        "actor_id": event.actor_id,
        "subject": event.subject,
        **event.details,
        "request_id": info.request_id,
        "ip": info.ip,
    }
    _LOG.info(event.name, extra={"fields": fields})


async def events(database: Database, limit: int, after: tuple[int, ...] | None) -> Page[AuditEntry]:
    if after is None:
        records = await database.fetch_long(_NEWEST, limit=limit + 1)
    elif len(after) == 1:
        records = await database.fetch_long(_BEFORE, limit=limit + 1, before=after[0])
    else:
        raise InvalidCursor
    items = [EVENT.of(record) for record in records[:limit]]
    return Page(items, next=(items[-1].id,) if len(records) > limit else None)
