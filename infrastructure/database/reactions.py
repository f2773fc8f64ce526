"""The job that tells webhooks of an event, as one statement.

It has no parameters: it reads the row of the audit that was just inserted. Where no webhook
subscribes to the event, it costs the database one condition, and this process nothing.
"""

from typing import Any

from sqlalchemy import (
    ColumnElement,
    FunctionElement,
    String,
    column,
    insert,
    literal_column,
    or_,
    select,
    table,
    type_coerce,
)
from sqlalchemy.ext.compiler import compiles

from application.deliveries import send_to_webhooks
from application.reactions import name_of
from domain.webhooks import EventName
from infrastructure.database.driver.statements import INSERTED
from infrastructure.database.events import EVENTS
from infrastructure.database.jobs import JOBS, Notified
from infrastructure.database.webhooks import WEBHOOKS

_EVENT = table(INSERTED, *(column(c.name, c.type) for c in EVENTS.c))


class _Payload(FunctionElement[str]):
    """The payload of `application.reactions.jobs_for`, made by the database."""

    type = String()
    inherit_cache = True


def _members(random: str, details: str) -> str:
    names = [column.name for column in (EVENTS.c.name, EVENTS.c.subject, EVENTS.c.actor_id)]
    columns = ", ".join(f"'{name}', {INSERTED}.{name}" for name in names)
    return f"'id', {random}, {columns}, 'details', {details}"


@compiles(_Payload, "sqlite")
def _payload_on_sqlite(*_: Any, **__: Any) -> str:
    members = _members("lower(hex(randomblob(16)))", f"json({INSERTED}.details)")
    return f"json_object({members})"


@compiles(_Payload, "postgresql")
def _payload_on_postgresql(*_: Any, **__: Any) -> str:
    random = "replace(CAST(gen_random_uuid() AS text), '-', '')"
    members = _members(random, f"CAST({INSERTED}.details AS json)")
    return f"CAST(json_build_object({members}) AS text)"


def _contains(word: ColumnElement[str]) -> ColumnElement[bool]:
    space = literal_column("' '", String)
    words = space + type_coerce(WEBHOOKS.c.events, String) + space
    return words.like(literal_column("'% '", String) + word + literal_column("' %'", String))


_IS_WANTED = (
    select(WEBHOOKS.c.id)
    .where(
        WEBHOOKS.c.active,
        or_(_contains(literal_column(f"'{EventName.ANY}'", String)), _contains(_EVENT.c.name)),
    )
    .exists()
)
_VALUES: dict[Any, ColumnElement[Any]] = {
    JOBS.c.kind: literal_column(f"'{name_of(send_to_webhooks)}'", String),
    JOBS.c.payload: _Payload(),
    JOBS.c.due_at: _EVENT.c.at,
    JOBS.c.wanted_at: _EVENT.c.at,
    JOBS.c.request_id: _EVENT.c.request_id,
    JOBS.c.ip: _EVENT.c.ip,
}
ADD_IF_SUBSCRIBED = (
    insert(JOBS)
    .from_select(list(_VALUES), select(*_VALUES.values()).where(_IS_WANTED))
    .returning(JOBS.c.id, Notified())
)
"""Follows the statement that inserts an event."""
