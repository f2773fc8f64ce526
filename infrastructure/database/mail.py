"""The outbox of the release before there were jobs.

Its processes may still put mails into this table while those of this release run: each is moved to
the jobs when it is due. A later release drops the table.
"""

from datetime import datetime

from sqlalchemy import bindparam, delete, select
from sqlmodel import Field

from application.ports.jobs import Job, JobId
from application.ports.mail import MAIL_JOB, mail_lane
from application.request_info import RequestInfo
from infrastructure.database.driver.rows import (
    BigId,
    Instant,
    Row,
    primary_key,
    table,
    timestamp_column,
)
from infrastructure.database.driver.statements import Record


class LetterRow(Row, table=True):
    __tablename__ = "outbox"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: int | None = primary_key()
    purpose: str
    email: str
    due_at: datetime = timestamp_column(index=True)
    attempts: int = Field(sa_column_kwargs={"server_default": "0"})
    request_id: str | None
    ip: str | None
    user_id: int | None = Field(sa_type=BigId, default=None)
    added_at: datetime | None = timestamp_column(nullable=True)
    host: str | None


OUTBOX = table(LetterRow)

_DUE = (
    select(OUTBOX.c.id)
    .where(OUTBOX.c.due_at <= bindparam("now", type_=Instant))
    .order_by(OUTBOX.c.due_at, OUTBOX.c.id)
    .limit(1)
    .with_for_update(skip_locked=True)
)
LEFT_OVER = (
    delete(OUTBOX)
    .where(OUTBOX.c.id == _DUE.scalar_subquery())
    .returning(
        OUTBOX.c.purpose,
        OUTBOX.c.email,
        OUTBOX.c.user_id,
        OUTBOX.c.due_at,
        OUTBOX.c.added_at,
        OUTBOX.c.attempts,
        OUTBOX.c.request_id,
        OUTBOX.c.ip,
    )
)


def left_over_message(record: Record, now: datetime) -> Job:
    """The job for a message that `LEFT_OVER` returned."""
    purpose, email, user_id, due_at, added_at, attempts, request_id, ip = record
    return Job(
        id=JobId(0),
        kind=MAIL_JOB,
        payload={"purpose": purpose, "email": email, "user_id": user_id},
        lane=mail_lane(email),
        key=None,
        due_at=due_at,
        wanted_at=added_at or now,
        attempts=attempts,
        error=None,
        failed_at=None,
        origin=RequestInfo(request_id, ip),
    )
