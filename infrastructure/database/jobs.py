"""Jobs: row, statements, repository and lists."""

from collections.abc import Collection
from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    FunctionElement,
    Index,
    Update,
    bindparam,
    case,
    delete,
    func,
    or_,
    select,
    text,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.compiler import compiles
from sqlmodel import Field

from application.ports.jobs import (
    BUSY_KINDS_MAX,
    BUSY_LANES_MAX,
    Job,
    JobId,
    JobList,
    Jobs,
    JobStatus,
    NewJob,
)
from application.request_info import REQUEST_INFO
from infrastructure.database.driver.mapping import Mapping
from infrastructure.database.driver.rows import (
    BigId,
    Instant,
    Json,
    Row,
    primary_key,
    server_default,
    timestamp_column,
)
from infrastructure.database.driver.statements import Database, Transaction
from infrastructure.database.mail import LEFT_OVER, OUTBOX, left_over_message

CHANNEL = "gatepost_jobs"
"""Where PostgreSQL tells all processes that there is a job (NOTIFY)."""

_NOT_GIVEN_UP = text("failed_at IS NULL")


class JobRow(Row, table=True):
    __tablename__ = "jobs"
    __table_args__ = (
        Index(
            "ix_jobs_due_at",
            "due_at",
            "id",
            postgresql_where=_NOT_GIVEN_UP,
            sqlite_where=_NOT_GIVEN_UP,
        ),
        # Most jobs have no key, and NULLs are different from each other.
        Index("uq_jobs_key", "key", unique=True),
        {"sqlite_autoincrement": True},
    )

    id: int | None = primary_key()
    kind: str
    payload: str = Field(sa_type=Json)
    lane: str | None
    key: str | None
    due_at: datetime = timestamp_column()
    wanted_at: datetime = timestamp_column()
    attempts: int = server_default("0")
    error: str | None
    failed_at: datetime | None = timestamp_column(nullable=True)
    request_id: str | None
    ip: str | None


JOB = Mapping(JobRow, Job)
JOBS = JOB.table


class Notified(FunctionElement[bool]):
    """Tells all processes about the row that a statement returns, when the statement commits."""

    type = Boolean()
    inherit_cache = True


@compiles(Notified)
def _unheard(*_: Any, **__: Any) -> str:
    return "NULL"


@compiles(Notified, "postgresql")
def _notified(*_: Any, **__: Any) -> str:
    return f"pg_notify('{CHANNEL}', '') IS NULL"


_ADD = (
    insert(JOBS)
    .values(
        {c: bindparam(c.name) for c in JOB.columns if c is not JOBS.c.id}
        | {JOBS.c.attempts: bindparam("attempts", type_=BigId)}
    )
    .on_conflict_do_nothing()
    .returning(JOBS.c.id, Notified())
)
_KINDS = [f"kind_{number}" for number in range(BUSY_KINDS_MAX)]
_LANES = [f"lane_{number}" for number in range(BUSY_LANES_MAX)]


@cache
def _claim(*, kinds: bool, lanes: bool) -> Update:
    """The statement that claims a job, with the conditions that there is something for."""
    due = select(JOBS.c.id).where(
        JOBS.c.failed_at.is_(None), JOBS.c.due_at <= bindparam("now", type_=Instant)
    )
    if kinds:
        due = due.where(JOBS.c.kind.not_in([bindparam(name) for name in _KINDS]))
    if lanes:
        is_free = JOBS.c.lane.not_in([bindparam(name) for name in _LANES])
        due = due.where(or_(JOBS.c.lane.is_(None), is_free))
    first = due.order_by(JOBS.c.due_at, JOBS.c.id).limit(1).with_for_update(skip_locked=True)
    return (
        update(JOBS)
        .values(due_at=bindparam("until"), attempts=JOBS.c.attempts + 1)
        .where(JOBS.c.id == first.scalar_subquery())
        .returning(*JOB.columns)
    )


_IS_CLAIMED = (
    JOBS.c.id == bindparam("key_id", type_=BigId),
    JOBS.c.attempts == bindparam("claim", type_=BigId),
)
_SAVE = (
    update(JOBS)
    .values(
        due_at=bindparam("due_at"),
        wanted_at=bindparam("wanted_at"),
        attempts=bindparam("attempts"),
        error=bindparam("error"),
        failed_at=bindparam("failed_at"),
    )
    .where(*_IS_CLAIMED)
    .returning(JOBS.c.id)
)
_REMOVE = delete(JOBS).where(*_IS_CLAIMED).returning(JOBS.c.id)
_AGAIN = (
    update(JOBS)
    .values(
        due_at=bindparam("now"),
        failed_at=None,
        attempts=case((JOBS.c.failed_at.is_(None), JOBS.c.attempts), else_=0),
    )
    .where(JOBS.c.id == bindparam("key_id", type_=BigId))
    .returning(JOBS.c.id, Notified())
)

_AFTER = bindparam("after", type_=Instant)
_FIRSTS = union_all(
    select(func.min(JOBS.c.due_at).label("due_at")).where(
        JOBS.c.failed_at.is_(None), JOBS.c.due_at > _AFTER
    ),
    select(func.min(OUTBOX.c.due_at)).where(OUTBOX.c.due_at > _AFTER),
).subquery()
_NEXT_DUE = select(func.min(_FIRSTS.c.due_at, type_=Instant))
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)

_IS_LATE = JOBS.c.failed_at.is_(None) & (JOBS.c.wanted_at <= bindparam("now", type_=Instant))
_FIGURES: tuple[ColumnElement[Any], ...] = (
    func.count(case((_IS_LATE, 1))),
    func.min(case((_IS_LATE, JOBS.c.wanted_at)), type_=Instant),
    func.count(JOBS.c.failed_at),
    func.min(case((JOBS.c.failed_at.is_(None), JOBS.c.due_at)), type_=Instant),
    select(func.min(OUTBOX.c.due_at, type_=Instant)).scalar_subquery(),
)
_STATUS = select(*_FIGURES)
_HAVE_KEYS = select(JOBS.c.key).where(JOBS.c.key.is_not(None))
_LIST = (
    select(*JOB.columns)
    .order_by(JOBS.c.failed_at.is_(None), JOBS.c.due_at, JOBS.c.id)
    .limit(bindparam("limit", type_=BigId))
)


def stored(new: NewJob) -> Job:
    """The job before it has an id, wanted by the current request."""
    return Job(
        id=JobId(0),
        kind=new.kind,
        payload=new.payload,
        lane=new.lane,
        key=new.key,
        due_at=new.due_at,
        wanted_at=new.due_at,
        attempts=0,
        error=None,
        failed_at=None,
        origin=REQUEST_INFO.get(),
    )


def add(transaction: Transaction, job: Job) -> None:
    """Store `job` with the commit."""
    values = JOB.values(job)
    del values["id"]
    transaction.defer(_ADD, **values)


class SqlJobs(Jobs):
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def add(self, job: NewJob) -> None:
        add(self._transaction, stored(job))

    async def claim(
        self,
        now: datetime,
        *,
        until: datetime,
        busy_kinds: Collection[str] = (),
        busy_lanes: Collection[str] = (),
    ) -> Job | None:
        values: dict[str, Any] = {"now": now, "until": until}
        for names, busy in ((_KINDS, busy_kinds), (_LANES, busy_lanes)):
            if busy:
                values |= dict.fromkeys(names, "") | dict(zip(names, busy, strict=False))
        statement = _claim(kinds=bool(busy_kinds), lanes=bool(busy_lanes))
        records = await self._transaction.fetch(statement, **values)
        if not records and await self._adopt(now):
            records = await self._transaction.fetch(statement, **values)
        return JOB.of(records[0]) if records else None

    async def _adopt(self, now: datetime) -> bool:
        """Make a job of a mail that a process of the previous release has queued. Returns whether
        there was one that none of them is sending.
        """
        records = await self._transaction.fetch(LEFT_OVER, now=now)
        for record in records:
            add(self._transaction, left_over_message(record, now))
        return bool(records)

    async def save(self, job: Job, *, claim: int) -> bool:
        values = {
            "due_at": job.due_at,
            "wanted_at": job.wanted_at,
            "attempts": job.attempts,
            "error": job.error,
            "failed_at": job.failed_at,
        }
        return bool(await self._transaction.fetch(_SAVE, key_id=job.id, claim=claim, **values))

    async def remove(self, job: Job) -> bool:
        return bool(await self._transaction.fetch(_REMOVE, key_id=job.id, claim=job.attempts))

    async def again(self, job_id: JobId, now: datetime) -> bool:
        return bool(await self._transaction.fetch(_AGAIN, key_id=job_id, now=now))


class SqlJobList(JobList):
    def __init__(self, database: Database) -> None:
        self._database = database

    async def next_due(self, after: datetime | None = None) -> datetime | None:
        ((due,),) = await self._database.fetch(_NEXT_DUE, after=after or _BEGINNING)
        moment: datetime | None = due
        return moment

    async def status(self, now: datetime) -> JobStatus:
        ((waiting, oldest, failed, *due),) = await self._database.fetch_long(_STATUS, now=now)
        next_due = min((moment for moment in due if moment is not None), default=None)
        return JobStatus(waiting, oldest, failed, next_due)

    async def keys(self) -> set[str]:
        return {key for (key,) in await self._database.fetch(_HAVE_KEYS)}

    async def jobs(self, limit: int) -> list[Job]:
        return [JOB.of(record) for record in await self._database.fetch_long(_LIST, limit=limit)]
