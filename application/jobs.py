"""Jobs: the kinds that there are, and what an operator sees of them and does to them."""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any

from application.ports.jobs import Job, JobId, JobList
from application.ports.storage import UnitOfWork
from application.services import Ports, Services
from domain.errors import NotFound
from domain.jobs import ATTEMPTS_MAX, next_time, pause_after

LISTED_MAX = 10_000

_NAME = re.compile(r"[a-z_]+")


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of job, and how the jobs of this kind are done."""

    name: str
    work: Callable[[Services, Job], Awaitable[None]]
    """May be called again for the same job: after it has failed, or if its process has died. What
    it raises is a failure: `FailedForNow` an expected one, `NeverSucceeds` the last one.
    """
    at_once: int = 8
    """How many a process does at the same time."""
    per_lane: int = 2
    """How many of one lane a process does at the same time."""
    attempts: int = ATTEMPTS_MAX
    pause: Callable[[int], timedelta] = pause_after
    """How long to wait after so many attempts."""


@dataclass(frozen=True, kw_only=True)
class Regular:
    """Work that is done once in each period, by one of the processes."""

    name: str
    work: Callable[[Services], Awaitable[object]]
    period: timedelta
    at: time

    def next(self, now: datetime) -> datetime:
        return next_time(self.period, self.at, now)

    @property
    def kind(self) -> Kind:
        async def work(services: Services, _: Job) -> None:
            await self.work(services)

        return Kind(name=self.name, work=work)


def daily(work: Callable[[Services], Awaitable[object]], *, at: time = time(3)) -> Regular:
    """Do `work` once a day at a time in UTC. Its name is that of the function."""
    return Regular(name=_name(work), work=work, period=timedelta(days=1), at=at)


def hourly(work: Callable[[Services], Awaitable[object]]) -> Regular:
    """Do `work` once an hour. Its name is that of the function."""
    return Regular(name=_name(work), work=work, period=timedelta(hours=1), at=time())


def _name(function: Any) -> str:
    name: str = function.__name__
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name} is no name for a job")
    return name


class JobNotFound(NotFound):
    def __init__(self, job_id: JobId) -> None:
        super().__init__(f"There is no job {job_id}")


class JobService:
    """What waits, what failed and why."""

    def __init__(self, ports: Ports) -> None:
        self._queries = ports.queries
        self._storage = ports.storage
        self._clock = ports.clock

    async def jobs(self, limit: int = LISTED_MAX) -> Sequence[Job]:
        """Jobs that failed, then those that wait, at most `limit`."""
        return await self._queries.of(JobList).jobs(limit)

    async def again(self, job_id: JobId) -> None:
        """Have a job done now that failed or waits. Raises `JobNotFound`."""

        async def work(uow: UnitOfWork) -> None:
            if not await uow.jobs.again(job_id, self._clock()):
                raise JobNotFound(job_id)
            await uow.commit()

        await self._storage.run(work)
