"""What a service does to its database while nobody asks it for anything."""

import asyncio
import selectors
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from application.ports.jobs import NewJob
from application.services import build_services
from tests.fakes.clock import NOON, FakeClock
from tests.fakes.ports import FakePorts
from tests.fakes.queries import FakeQueries
from tests.fakes.storage import FakeStorage, FakeUnitOfWork, State
from tests.jobs import worker_of


class _Selector(selectors.DefaultSelector):
    """Waits for nothing: it counts the seconds that the loop would have waited."""

    waited = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.waited += timeout or 0.0
        return super().select(0)


class Loop(asyncio.SelectorEventLoop):
    """An event loop in whose time hours of waiting pass at once."""

    def __init__(self) -> None:
        self._waits = _Selector()
        super().__init__(self._waits)

    def time(self) -> float:
        return self._waits.waited


class LoopClock(FakeClock):
    def __call__(self) -> datetime:
        return NOON + timedelta(seconds=asyncio.get_running_loop().time())


class CountingStorage(FakeStorage):
    def __init__(self) -> None:
        super().__init__()
        self.reads = self.units = 0

    async def read(self) -> State:
        self.reads += 1
        return await super().read()

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[FakeUnitOfWork]:
        self.units += 1
        async with super().__call__() as uow:
            yield uow


def test_an_idle_service_writes_nothing_and_reads_once_in_30_seconds() -> None:
    async def idle_hours(hours: int) -> CountingStorage:
        storage = CountingStorage()
        ports = FakePorts(queries=FakeQueries(storage), storage=storage, clock=LoopClock())
        services = build_services(ports)
        # Jobs that are due tomorrow, and one that was given up, are no work.
        async with storage() as uow:
            await uow.jobs.add(NewJob(kind="mail", due_at=NOON + timedelta(days=1)))
            await uow.commit()
        tasks = [
            asyncio.create_task(work)
            for work in (
                worker_of(services).run_forever(),
                services.personal_tokens.note_uses_forever(),
            )
        ]
        await asyncio.sleep(30)  # of this loop: no time passes
        storage.reads = storage.units = 0
        await asyncio.sleep(hours * 3600)
        for task in tasks:
            task.cancel()
        return storage

    with asyncio.Runner(loop_factory=Loop) as runner:
        storage = runner.run(idle_hours(3))

    assert storage.units == 0
    assert 0 < storage.reads <= 3 * 3600 / 30
