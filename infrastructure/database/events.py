"""The audit: row, mapping, the statement that records and the list."""

import logging
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Index, Insert, Select, bindparam, or_, select, text
from sqlmodel import Field

from application.ports.queries import AuditEntry, EventList
from application.request_info import REQUEST_INFO
from domain.events import Event, EventId
from domain.pages import InvalidCursor, Page
from domain.posts import POST_WRITTEN  # posts only
from infrastructure.database.driver.exported import OWNER, SUBJECT, Exported
from infrastructure.database.driver.mapping import Mapping
from infrastructure.database.driver.rows import BigId, Json, Row, primary_key, timestamp_column
from infrastructure.database.driver.statements import Database, Transaction

_LOG = logging.getLogger("gatepost.audit")


class EventRow(Row, table=True):
    __tablename__ = "events"
    __table_args__ = (
        # For quotas: deleting a post leaves its event.  # posts only
        Index(  # posts only
            "ix_events_post_written",
            "actor_id",
            "id",
            postgresql_where=text(f"name = '{POST_WRITTEN}'"),
            sqlite_where=text(f"name = '{POST_WRITTEN}'"),
        ),
        # For the audit, which is read newest first.
        Index("ix_events_actor_id_id", "actor_id", "id"),
        Index("ix_events_subject_id", "subject", "id"),
        Index("ix_events_name_id", "name", "id"),
        {"sqlite_autoincrement": True},
    )

    id: int | None = primary_key()
    at: datetime = timestamp_column()
    name: str
    # No foreign key: events outlive the user who caused them.
    actor_id: int | None = Field(sa_type=BigId)
    subject: str
    details: str = Field(sa_type=Json)
    request_id: str | None
    ip: str | None


EVENT = Mapping(EventRow, AuditEntry)
EVENTS = EVENT.table
_SHOWN = [EVENTS.c.id, EVENTS.c.at, EVENTS.c.name, EVENTS.c.subject, EVENTS.c.details]
EXPORTED = (
    Exported(
        "events",
        [*_SHOWN, EVENTS.c.request_id, EVENTS.c.ip],
        owned=EVENTS.c.actor_id == OWNER,
        key=EVENTS.c.id,
    ),
    # Without the address: it is that of somebody else.
    Exported(
        "events_by_others",
        _SHOWN,
        owned=(EVENTS.c.subject == SUBJECT)
        & or_(EVENTS.c.actor_id.is_(None), EVENTS.c.actor_id != OWNER),
        key=EVENTS.c.id,
    ),
)

_CONDITIONS: dict[str, ColumnElement[bool]] = {
    "before": EVENTS.c.id < bindparam("before"),
    "actor_id": EVENTS.c.actor_id == bindparam("actor_id"),
    "subject": EVENTS.c.subject == bindparam("subject"),
    "name": EVENTS.c.name == bindparam("name"),
}


@cache
def _newest(*conditions: str) -> Select[Any]:
    """One statement for each combination of conditions, so that each can use its index."""
    statement = select(*EVENT.columns).where(*(_CONDITIONS[name] for name in conditions))
    limit = bindparam("limit", type_=EVENTS.c.id.type)
    return statement.order_by(EVENTS.c.id.desc()).limit(limit)


_RECORD = EVENT.insert.returning(*(c for c in EVENTS.c if not c.primary_key))


def record(transaction: Transaction, event: Event, *, then: Insert | None = None) -> None:
    """Store `event` with the commit, and with it the request that the change came with. `then` is
    a statement that follows, as `Transaction.defer` has it.
    """
    info = REQUEST_INFO.get()
    entry = AuditEntry(id=EventId(0), event=event, request_id=info.request_id, ip=info.ip)
    transaction.defer(_RECORD, then=then, **EVENT.values(entry))


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


async def events(database: Database, wanted: EventList) -> Page[AuditEntry]:
    if wanted.after is not None and len(wanted.after) != 1:
        raise InvalidCursor
    values: dict[str, Any] = {
        "before": wanted.after[0] if wanted.after else None,
        "actor_id": wanted.actor_id,
        "subject": wanted.subject,
        "name": wanted.name,
    }
    given = {name: value for name, value in values.items() if value is not None}
    records = await database.fetch_long(_newest(*given), limit=wanted.limit + 1, **given)
    items = [EVENT.of(record) for record in records[: wanted.limit]]
    return Page(items, next=(items[-1].id,) if len(records) > wanted.limit else None)
