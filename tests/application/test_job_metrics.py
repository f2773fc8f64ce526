from datetime import timedelta

from application.jobs import Kind
from application.ports.jobs import FailedForNow, Job, NeverSucceeds, NewJob
from application.services import Services
from application.worker import Worker
from tests.fakes.ports import FakePorts


async def test_waiting_and_failed_jobs_are_counted(ports: FakePorts, services: Services) -> None:
    trouble: Exception = FailedForNow("no answer")

    async def greet(_: Services, __: Job) -> None:
        raise trouble

    worker = Worker(services, kinds=[Kind(name="greet", work=greet)], jitter=lambda: 0.0)

    async def figures() -> dict[str, int]:
        await worker.read_status()
        return {
            each.name.removeprefix("gatepost_"): each.read()
            for each in worker.metrics.readings()
            if each.labels in ({}, {"kind": "greet"})
        }

    def expected(waiting: int, oldest: int, failed: int, failures: int) -> dict[str, int]:
        return {
            "jobs_waiting": waiting,
            "jobs_oldest_seconds": oldest,
            "jobs_failed": failed,
            "job_failures": failures,
        }

    assert await figures() == expected(0, 0, 0, 0)
    async with ports.storage() as uow:
        await uow.jobs.add(NewJob(kind="greet", due_at=ports.clock()))
        await uow.commit()
    await worker.do_next()
    ports.clock.advance(timedelta(seconds=20))
    assert await figures() == expected(1, 20, 0, 1)
    trouble = NeverSucceeds("gone")
    await worker.do_next()
    assert await figures() == expected(0, 0, 1, 2)
