from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from application.ports.jobs import Job, JobId, JobList, Jobs, JobStatus, NewJob
from application.request_info import REQUEST_INFO
from domain.webhooks import Webhook
from tests.fakes.storage import FakeStorage, FakeUnitOfWork, State


class FakeJobs(Jobs):
    def __init__(self, uow: FakeUnitOfWork) -> None:
        self._uow = uow

    async def add(self, job: NewJob) -> None:
        self.put(job)

    def put(self, job: NewJob, *, if_subscribed_to: str | None = None) -> None:
        added = Job(
            id=JobId(self._uow.new_id()),
            kind=job.kind,
            payload=dict(job.payload),
            lane=job.lane,
            key=job.key,
            due_at=job.due_at,
            wanted_at=job.due_at,
            attempts=0,
            error=None,
            failed_at=None,
            origin=REQUEST_INFO.get(),
        )

        def change(state: State) -> None:
            webhooks = state.rows(Webhook).values()
            if if_subscribed_to and not any(it.is_told_of(if_subscribed_to) for it in webhooks):
                return
            if added.key is None or added.key not in {it.key for it in state.jobs.values()}:
                state.put(added.id, added)

        self._uow.defer(change)
        self._uow.adds_jobs = True

    async def claim(
        self,
        now: datetime,
        *,
        until: datetime,
        busy_kinds: Collection[str] = (),
        busy_lanes: Collection[str] = (),
    ) -> Job | None:
        state = await self._uow.state()
        due = [
            job
            for job in state.jobs.values()
            if job.failed_at is None
            and job.due_at <= now
            and job.kind not in busy_kinds
            and job.lane not in busy_lanes
        ]
        if not due:
            return None
        first = min(due, key=lambda job: (job.due_at, job.id))
        claimed = replace(first, attempts=first.attempts + 1, due_at=until)
        state.put(claimed.id, claimed)
        return claimed

    async def save(self, job: Job, *, claim: int) -> bool:
        state = await self._uow.state()
        stored = state.jobs.get(job.id)
        if stored is None or stored.attempts != claim:
            return False
        state.put(job.id, job)
        return True

    async def remove(self, job: Job) -> bool:
        state = await self._uow.state()
        stored = state.jobs.get(job.id)
        if stored is None or stored.attempts != job.attempts:
            return False
        state.remove(Job, job.id)
        return True

    async def again(self, job_id: JobId, now: datetime) -> bool:
        state = await self._uow.state()
        job = state.jobs.get(job_id)
        if job is None:
            return False
        attempts = job.attempts if job.failed_at is None else 0
        state.put(job_id, replace(job, due_at=now, failed_at=None, attempts=attempts))
        self._uow.adds_jobs = True
        return True


class FakeJobList(JobList):
    def __init__(self, storage: FakeStorage) -> None:
        self._storage = storage

    async def next_due(self, after: datetime | None = None) -> datetime | None:
        jobs = (await self._storage.read()).jobs.values()
        due = [job.due_at for job in jobs if job.failed_at is None]
        return min((moment for moment in due if after is None or moment > after), default=None)

    async def status(self, now: datetime) -> JobStatus:
        jobs = (await self._storage.read()).jobs.values()
        late = [job.wanted_at for job in jobs if job.failed_at is None and job.wanted_at <= now]
        failed = sum(job.failed_at is not None for job in jobs)
        due = min((job.due_at for job in jobs if job.failed_at is None), default=None)
        return JobStatus(len(late), min(late, default=None), failed, due)

    async def keys(self) -> set[str]:
        jobs = (await self._storage.read()).jobs.values()
        return {job.key for job in jobs if job.key is not None}

    async def jobs(self, limit: int) -> list[Job]:
        jobs = (await self._storage.read()).jobs.values()
        return sorted(jobs, key=lambda job: (job.failed_at is None, job.due_at, job.id))[:limit]
