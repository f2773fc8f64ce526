"""The worker: does the jobs that are due, in every process that serves."""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NoReturn

from application.job_kinds import JobKinds
from application.job_metrics import JobMetrics
from application.jobs import Kind, Regular
from application.ports.jobs import (
    BUSY_KINDS_MAX,
    BUSY_LANES_MAX,
    FailedForNow,
    Job,
    JobList,
    NeverSucceeds,
    NewJob,
)
from application.ports.storage import UnitOfWork
from application.reactions import REACTIONS, Reactions
from application.request_info import REQUEST_INFO
from application.services import Services
from domain.errors import Unavailable

LEASE = timedelta(seconds=60)
"""How long a claimed job is reserved for its process. A job that takes longer is claimed again by
the same process while it runs."""

AT_ONCE = 64
"""How many jobs one process does at the same time."""

_IDLE = 30.0
"""Seconds between two looks when nobody says that there is a job."""

_SOON = 0.05
"""Seconds after a commit that may have added jobs, so that many commits cost one look."""

_SETTLE = 0.02
"""Seconds after a job has ended, so that the ends of many cost one transaction."""

_LATER = 0.5
"""The same after a commit of another process, which goes first."""

_AFTER_OUTAGE = 2.0

log = logging.getLogger("gatepost.jobs")

Jitter = Callable[[], float]
"""Returns a number from 0 to 1."""


@dataclass(eq=False)
class _Running:
    job: Job
    kind: Kind
    claimed_at: datetime


class Worker:
    """`kinds` and `regular` are those that the modules of the concepts do not list as `JOBS` and
    `REGULAR`.
    """

    def __init__(
        self,
        services: Services,
        *,
        kinds: Collection[Kind] = (),
        regular: Collection[Regular] = (),
        reactions: Reactions = REACTIONS,
        jitter: Jitter = random.random,
    ) -> None:
        self._services = services
        self._storage = services.ports.storage
        self._list = services.ports.queries.of(JobList)
        self._clock = services.ports.clock
        self._jitter = jitter
        self._kinds = JobKinds(kinds, regular, reactions)
        self._awake = asyncio.Event()
        self._waking: set[float] = set()
        """The delays that are running."""
        self._running: dict[asyncio.Task[None], _Running] = {}
        self._ended: list[tuple[Job, Job | None]] = []
        """Jobs that are over, each with what is to be stored of it; None if it is to be removed."""
        self.metrics = JobMetrics(self._kinds.names, self._clock)
        self._status_due = self._clock()

    def wake(self) -> None:
        """There is a job."""
        self._awake.set()

    def wake_soon(self) -> None:
        """There may be a job of this process."""
        self._wake_in(_SOON)

    def wake_later(self) -> None:
        """Another process has added a job, and most likely does it."""
        self._wake_in(_LATER)

    def _wake_in(self, seconds: float) -> None:
        if seconds not in self._waking:
            self._waking.add(seconds)
            asyncio.get_running_loop().call_later(seconds, self._wake_after, seconds)

    def _wake_after(self, seconds: float) -> None:
        self._waking.discard(seconds)
        self._awake.set()

    async def run_forever(self) -> NoReturn:
        """Do jobs soon after they are due, until cancelled.

        Any number of processes may do so at the same time.
        """
        self._storage.on_jobs(self.wake_soon)
        has_regular = False
        try:
            while True:
                self._awake.clear()
                pause = _AFTER_OUTAGE
                try:
                    if not has_regular:
                        await self.add_regular()
                        has_regular = True
                    pause = await self._turn()
                except Unavailable:
                    pass  # the database logs its own outage; the jobs wait
                except Exception:
                    log.exception("the worker failed")
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._awake.wait()
        finally:
            for task in self._running:
                task.cancel()

    async def add_regular(self) -> None:
        """Add the regular jobs that are not there yet."""
        missing = self._kinds.regular.keys() - await self._list.keys()
        if not missing:
            return

        async def work(uow: UnitOfWork) -> None:
            for name in sorted(missing):
                due = self._kinds.regular[name].next(self._clock())
                await uow.jobs.add(NewJob(kind=name, key=name, due_at=due))
            await uow.commit()

        await self._storage.run(work)

    async def read_status(self) -> None:
        """See how much waits, for the metrics."""
        self.metrics.status = await self._list.status(self._clock())

    async def do_next(self) -> bool:
        """Do the job that has been due longest. Returns whether there was one."""
        claimed = await self._settle_and_claim(1)
        for job in claimed:
            await self._do(job)
        await self._settle_and_claim(0)
        return bool(claimed)

    async def _turn(self) -> float:
        """Settle jobs that were done and start those that are due. Returns in how many seconds the
        next turn is due.
        """
        now = self._clock()
        has_status = now >= self._status_due
        if has_status:
            self._status_due = now + timedelta(seconds=_IDLE)
            await self.read_status()
        extending = [it for it in self._running.values() if now - it.claimed_at >= LEASE / 3]
        if not self._ended and not extending:
            due = self.metrics.status.next_due if has_status else await self._list.next_due()
            if due is None or due > now:
                return self._until(due)
        for job in await self._settle_and_claim(AT_ONCE, extending):
            self._start(job)
        return self._until(await self._list.next_due(after=now))

    def _until(self, due: datetime | None) -> float:
        longest = LEASE.total_seconds() / 3 if self._running else _IDLE
        if due is None:
            return longest
        return min(longest, max(0.0, (due - self._clock()).total_seconds()))

    async def _settle_and_claim(
        self, at_most: int, extending: Collection[_Running] = ()
    ) -> list[Job]:
        """In one transaction: store what became of the jobs that have ended, extend the leases of
        jobs that still run, and claim jobs for which there is room.
        """
        ended = list(self._ended)

        async def work(uow: UnitOfWork) -> list[Job]:
            now = self._clock()
            for job, changed in ended:
                if changed is None:
                    await uow.jobs.remove(job)
                else:
                    await uow.jobs.save(changed, claim=job.attempts)
            for running in extending:
                longer = replace(running.job, due_at=now + LEASE)
                await uow.jobs.save(longer, claim=running.job.attempts)
            claimed: list[Job] = []
            while len(self._running) + len(claimed) < at_most:
                kinds, lanes = self._busy(claimed)
                if len(kinds) > BUSY_KINDS_MAX or len(lanes) > BUSY_LANES_MAX:
                    break
                job_ = await uow.jobs.claim(
                    now, until=now + LEASE, busy_kinds=kinds, busy_lanes=lanes
                )
                if job_ is None:
                    break
                claimed.append(job_)
            await uow.commit()
            for running in extending:
                running.claimed_at = now
            return claimed

        claimed = await self._storage.run(work)
        self._ended = self._ended[len(ended) :]
        return claimed

    def _busy(self, claimed: Sequence[Job]) -> tuple[list[str], list[str]]:
        """The kinds and the lanes that there is no more room for."""
        jobs = [*(running.job for running in self._running.values()), *claimed]
        kinds = Counter(job.kind for job in jobs)
        lanes = Counter((job.kind, job.lane) for job in jobs if job.lane)
        return (
            [name for name, count in kinds.items() if count >= self._kinds.of(name).at_once],
            [
                lane
                for (name, lane), count in lanes.items()
                if count >= self._kinds.of(name).per_lane
            ],
        )

    def _start(self, job: Job) -> None:
        task = asyncio.create_task(self._do(job))
        self._running[task] = _Running(job, self._kinds.of(job.kind), self._clock())
        task.add_done_callback(self._stopped)

    def _stopped(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self._wake_in(_SETTLE)

    async def _do(self, job: Job) -> None:
        """Do a claimed job, and note what became of it.

        At least once: a job is removed after it was done, and that of a process that died is due
        again when its lease ends.
        """
        info = REQUEST_INFO.set(job.origin)
        changed: Job | None
        try:
            await self._kinds.of(job.kind).work(self._services, job)
        except Exception as error:  # noqa: BLE001  whatever it is, it is an attempt that failed
            changed = self._failed(job, error)
        else:
            changed = self._next(job)
        finally:
            REQUEST_INFO.reset(info)
        self._ended.append((job, changed))

    def _next(self, job: Job, error: str | None = None) -> Job | None:
        """The next time of a regular job; None for any other, which is over."""
        regular = self._kinds.regular.get(job.kind)
        if regular is None:
            return None
        due = regular.next(self._clock())
        return replace(job, due_at=due, wanted_at=due, attempts=0, error=error)

    def _failed(self, job: Job, error: Exception) -> Job:
        """The job after an attempt that failed."""
        self.metrics.failures[job.kind] += 1
        kind, now = self._kinds.of(job.kind), self._clock()
        is_expected = isinstance(error, (FailedForNow, NeverSucceeds, Unavailable))
        reason = str(error) if is_expected else type(error).__name__
        is_last = isinstance(error, NeverSucceeds) or job.attempts >= kind.attempts
        if is_last and (regular := self._next(job, reason)):
            log.error("job %s (%s) failed until its next time: %s", job.id, job.kind, reason)
            return regular
        if is_last:
            log.error("job %s (%s) was given up: %s", job.id, job.kind, reason)
            return replace(job, error=reason, failed_at=now)
        # Random, so that what failed together is not tried again together.
        again_at = now + kind.pause(job.attempts) * (1 + self._jitter() / 10)
        log.warning(
            "job %s (%s) failed: %s; next attempt: %s",
            job.id,
            job.kind,
            reason,
            again_at,
            exc_info=None if is_expected else error,
        )
        return replace(job, due_at=again_at, error=reason)
