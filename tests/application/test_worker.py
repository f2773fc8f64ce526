"""The worker: retries, leases, rooms for kinds and lanes, regular jobs and metrics."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta

import pytest

from application.jobs import JobService, Kind, hourly
from application.ports.jobs import FailedForNow, Job, NeverSucceeds, NewJob
from application.request_info import REQUEST_INFO, RequestInfo
from application.services import Services
from application.worker import AT_ONCE, LEASE, Worker
from domain.errors import Unavailable
from domain.jobs import ATTEMPTS_MAX
from tests.fakes.ports import FakePorts

SECOND = timedelta(seconds=1)


class Greeter:
    """Jobs of the kind "greet": notes what was done, and raises `trouble` if there is one."""

    def __init__(self) -> None:
        self.done: list[Job] = []
        self.trouble: BaseException | None = None
        self.waits: dict[str | None, asyncio.Event] = {}
        self.running: list[str | None] = []
        self.kind = Kind(name="greet", work=self.greet, at_once=8, per_lane=2)

    async def greet(self, _: Services, job: Job) -> None:
        if wait := self.waits.get(job.lane):
            self.running.append(job.lane)
            await wait.wait()
        if self.trouble:
            raise self.trouble
        self.done.append(job)


@pytest.fixture
def greeter() -> Greeter:
    return Greeter()


@pytest.fixture
def worker(services: Services, greeter: Greeter) -> Worker:
    return Worker(services, kinds=[greeter.kind], jitter=lambda: 0.0)


async def add(ports: FakePorts, *, kind: str = "greet", lane: str | None = None) -> None:
    async with ports.storage() as uow:
        await uow.jobs.add(NewJob(kind=kind, due_at=ports.clock(), lane=lane))
        await uow.commit()


def stored(ports: FakePorts) -> Job:
    (job,) = ports.storage.committed.jobs.values()
    return job


@asynccontextmanager
async def running(worker: Worker) -> AsyncIterator[None]:
    task = asyncio.create_task(worker.run_forever())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


# One job


async def test_a_job_is_done_once_as_part_of_its_request(ports: FakePorts, worker: Worker) -> None:
    origin = RequestInfo("request-1", "192.0.2.1")
    seen: list[RequestInfo] = []

    async def work(_: Services, __: Job) -> None:
        seen.append(REQUEST_INFO.get())

    worker = Worker(worker._services, kinds=[Kind(name="note", work=work)])
    token = REQUEST_INFO.set(origin)
    await add(ports, kind="note")
    REQUEST_INFO.reset(token)

    assert await worker.do_next()
    assert not await worker.do_next()

    assert seen == [origin]
    assert ports.storage.committed.jobs == {}


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (FailedForNow("no answer"), "no answer"),
        (Unavailable("the database is away"), "the database is away"),
        (ValueError("a secret"), "ValueError"),
    ],
)
async def test_a_job_that_failed_is_tried_again_after_growing_pauses(
    ports: FakePorts, worker: Worker, greeter: Greeter, trouble: Exception, reason: str
) -> None:
    await add(ports)
    greeter.trouble = trouble

    for seconds in (2, 4, 8):
        assert await worker.do_next()
        assert stored(ports).error == reason
        ports.clock.advance(seconds * SECOND - timedelta(microseconds=1))
        assert not await worker.do_next()
        ports.clock.advance(timedelta(microseconds=1))
    greeter.trouble = None

    assert await worker.do_next()
    assert [job.attempts for job in greeter.done] == [4]
    assert ports.storage.committed.jobs == {}


async def test_pauses_are_longer_by_chance(ports: FakePorts, services: Services) -> None:
    greeter = Greeter()
    greeter.trouble = FailedForNow("no answer")
    await add(ports)

    await Worker(services, kinds=[greeter.kind], jitter=lambda: 0.5).do_next()

    assert stored(ports).due_at == ports.clock() + 2.1 * SECOND


async def test_a_job_that_failed_twenty_times_is_kept_until_somebody_has_it_done_again(
    ports: FakePorts, services: Services, worker: Worker, greeter: Greeter
) -> None:
    await add(ports)
    greeter.trouble = FailedForNow("no answer")
    for _ in range(ATTEMPTS_MAX):
        assert await worker.do_next()
        ports.clock.advance(timedelta(hours=1))

    assert not await worker.do_next()
    (job,) = await JobService(services.ports).jobs()
    assert (job.attempts, job.error) == (20, "no answer")
    assert job.failed_at == ports.clock() - timedelta(hours=1)

    greeter.trouble = None
    await JobService(services.ports).again(job.id)
    assert await worker.do_next()
    assert ports.storage.committed.jobs == {}


async def test_a_job_that_can_never_succeed_is_tried_once(
    ports: FakePorts, worker: Worker, greeter: Greeter
) -> None:
    await add(ports)
    greeter.trouble = NeverSucceeds("gone")

    assert await worker.do_next()

    assert (stored(ports).failed_at, stored(ports).error) == (ports.clock(), "gone")


# Leases


async def test_a_job_whose_process_died_is_done_by_another_within_90_seconds(
    ports: FakePorts, worker: Worker, greeter: Greeter
) -> None:
    await add(ports)
    greeter.trouble = asyncio.CancelledError()
    with suppress(asyncio.CancelledError):
        await worker.do_next()
    greeter.trouble = None

    assert not await worker.do_next()
    ports.clock.advance(LEASE)
    assert await worker.do_next()

    assert [job.attempts for job in greeter.done] == [2]
    assert timedelta(seconds=90) > LEASE


async def test_the_lease_of_a_job_that_takes_long_is_extended(
    ports: FakePorts, services: Services, worker: Worker, greeter: Greeter
) -> None:
    greeter.waits[None] = asyncio.Event()
    await add(ports)
    async with running(worker):
        await until(lambda: greeter.running == [None])
        for _ in range(9):
            ports.clock.advance(LEASE / 3)
            worker.wake()
            await until(lambda: stored(ports).due_at == ports.clock() + LEASE)
        assert not await Worker(services, kinds=[greeter.kind]).do_next()
        greeter.waits[None].set()
        await until(lambda: not ports.storage.committed.jobs)

    assert [job.attempts for job in greeter.done] == [1]


async def test_what_was_done_is_noted_after_an_outage(
    ports: FakePorts, worker: Worker, greeter: Greeter
) -> None:
    greeter.waits[None] = asyncio.Event()
    await add(ports)
    async with running(worker):
        await until(lambda: greeter.running == [None])
        ports.storage.down = ["database"]
        greeter.waits[None].set()
        await until(lambda: len(greeter.done) == 1)
        ports.storage.down = []
        worker.wake()
        await until(lambda: not ports.storage.committed.jobs)

    assert len(greeter.done) == 1


# Room


async def test_a_slow_lane_does_not_delay_other_lanes(
    ports: FakePorts, worker: Worker, greeter: Greeter
) -> None:
    greeter.waits["slow"] = asyncio.Event()
    for number in range(8):
        await add(ports, lane="slow")
        await add(ports, lane=f"lane {number}")
    async with running(worker):
        await until(lambda: len(greeter.done) == 8)
        assert greeter.running == ["slow", "slow"]
        greeter.waits["slow"].set()
        await until(lambda: len(greeter.done) == 16)


async def test_a_slow_kind_does_not_delay_other_kinds(
    ports: FakePorts, services: Services, greeter: Greeter
) -> None:
    slow = Greeter()
    slow.waits[None] = asyncio.Event()
    worker = Worker(services, kinds=[greeter.kind, Kind(name="slow", work=slow.greet, at_once=3)])
    for _ in range(AT_ONCE):
        await add(ports, kind="slow")
    await add(ports)
    async with running(worker):
        await until(lambda: len(greeter.done) == 1)
        assert len(slow.running) == 3


async def test_jobs_are_done_at_once_and_after_an_outage(
    ports: FakePorts, worker: Worker, greeter: Greeter
) -> None:
    async with running(worker):
        await asyncio.sleep(0.01)
        ports.storage.down = ["database"]
        worker.wake()
        await asyncio.sleep(0.01)
        ports.storage.down = []
        await add(ports)
        await until(lambda: len(greeter.done) == 1)
        await add(ports)
        await until(lambda: len(greeter.done) == 2)


async def test_an_idle_worker_writes_nothing(
    ports: FakePorts, worker: Worker, greeter: Greeter
) -> None:
    async with running(worker):
        await add(ports)
        await until(lambda: len(greeter.done) == 1)
        await until(lambda: not ports.storage.committed.jobs)
        before = ports.storage.committed
        for _ in range(20):
            worker.wake()
            await asyncio.sleep(0)
        assert ports.storage.committed is before


# Regular jobs


async def test_regular_jobs_are_done_once_in_each_period(
    ports: FakePorts, services: Services
) -> None:
    done: list[datetime] = []
    trouble: list[Exception] = []

    async def tidy(_: Services) -> None:
        if trouble:
            raise trouble[0]
        done.append(ports.clock())

    workers = [Worker(services, regular=[hourly(tidy)], jitter=lambda: 0.0) for _ in range(2)]
    for worker in workers:
        await worker.add_regular()
    job = stored(ports)
    assert (job.kind, job.due_at) == ("tidy", datetime(2026, 11, 23, 13, tzinfo=UTC))
    for _ in range(3):
        assert not await workers[0].do_next()
        ports.clock.now = stored(ports).due_at
        assert [await worker.do_next() for worker in workers] == [True, False]

    assert [moment.hour for moment in done] == [13, 14, 15]
    trouble.append(NeverSucceeds("no"))
    ports.clock.now = stored(ports).due_at
    await workers[0].do_next()
    assert (stored(ports).error, stored(ports).failed_at) == ("no", None)
    assert stored(ports).due_at == ports.clock() + timedelta(hours=1)
