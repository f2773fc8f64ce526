"""Jobs, as ports: work that is wanted by a transaction and done after it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NewType, Protocol

from application.request_info import RequestInfo

JobId = NewType("JobId", int)

BUSY_LANES_MAX = 32
BUSY_KINDS_MAX = 8


class FailedForNow(Exception):
    """Raised by a job that may succeed later. Operators see its text, which contains no secret."""


class NeverSucceeds(Exception):
    """Raised by a job that would fail again however often it is tried. Operators see its text,
    which contains no secret.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    kind: str
    """The name of the function that does it."""
    payload: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What JSON can express. It never contains a secret."""
    due_at: datetime
    lane: str | None = None
    """Whom the job may have to wait for, such as a host. Few jobs of a lane run at the same time,
    so that they do not delay those of other lanes.
    """
    key: str | None = None
    """There is at most one job with this key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    id: JobId
    kind: str
    payload: Mapping[str, Any] = field(repr=False)
    lane: str | None
    key: str | None
    due_at: datetime
    """When it may be claimed. A claim moves this to its own end."""
    wanted_at: datetime
    """When it was due first."""
    attempts: int
    """Number of claims, including the current one."""
    error: str | None
    """Why the last attempt failed; it contains no secret."""
    failed_at: datetime | None
    """When it was given up. It is not due any more."""
    origin: RequestInfo
    """The request that wanted it."""

    @property
    def state(self) -> Literal["waiting", "failed"]:
        return "waiting" if self.failed_at is None else "failed"


@dataclass(frozen=True, slots=True)
class JobStatus:
    waiting: int
    """Number of jobs that should have been done, including those that are being done."""
    oldest: datetime | None
    """When the oldest of them should have been done."""
    failed: int
    next_due: datetime | None = None
    """As `JobList.next_due` returns it, so that an idle worker needs one read."""


class Jobs(Protocol):
    async def add(self, job: NewJob) -> None:
        """Add a job with the commit. Does nothing if there is one with the same `key`."""
        ...

    async def claim(
        self,
        now: datetime,
        *,
        until: datetime,
        busy_kinds: Collection[str] = (),
        busy_lanes: Collection[str] = (),
    ) -> Job | None:
        """Returns the job that has been due longest at `now`, or None. No other call returns it
        before `until`. Concurrent calls do not wait for each other and get different jobs.

        Skips jobs of the kinds and lanes that are busy, at most `BUSY_KINDS_MAX` and
        `BUSY_LANES_MAX`.
        """
        ...

    async def save(self, job: Job, *, claim: int) -> bool:
        """Store `due_at`, `wanted_at`, `attempts`, `error` and `failed_at` of a job.

        Returns False, and stores nothing, if the job is gone or was claimed again: `claim` is its
        number of attempts when it was claimed.
        """
        ...

    async def remove(self, job: Job) -> bool:
        """Returns False, and removes nothing, if the job is gone or was claimed again."""
        ...

    async def again(self, job_id: JobId, now: datetime) -> bool:
        """Make a job due now, with all its attempts if it has failed. Returns False if there is
        none with this id.
        """
        ...


class JobList(Protocol):
    async def next_due(self, after: datetime | None = None) -> datetime | None:
        """When the first job is due that is not given up, of those that are due after `after`."""
        ...

    async def status(self, now: datetime) -> JobStatus: ...

    async def keys(self) -> set[str]:
        """The keys of all jobs that have one."""
        ...

    async def jobs(self, limit: int) -> list[Job]:
        """Jobs, those that failed first, then by the time at which they are due."""
        ...
