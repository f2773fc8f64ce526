"""When calls to a database fail at once, and when they are let through again."""

import asyncio

import pytest

from application.outages import DatabaseUnavailable
from infrastructure.database.driver.breaker import Breaker


class Server:
    """Answers probes when the test says so."""

    def __init__(self) -> None:
        self.probes = 0
        self.errors: list[BaseException] = []
        self.verdicts: asyncio.Queue[Exception | None] = asyncio.Queue()
        self.breaker = Breaker(self._probe, self.errors.append)

    async def _probe(self) -> None:
        self.probes += 1
        verdict = await self.verdicts.get()
        if verdict is not None:
            raise verdict

    async def says(self, verdict: Exception | None = None) -> None:
        self.verdicts.put_nowait(verdict)
        for _ in range(5):
            await asyncio.sleep(0)


async def test_calls_pass_while_nothing_has_failed() -> None:
    server = Server()

    await server.breaker.admit()

    assert server.probes == 0


async def test_calls_during_the_first_probe_wait_and_pass_when_it_succeeds() -> None:
    server = Server()
    server.breaker.trip()
    waiting = [asyncio.create_task(server.breaker.admit()) for _ in range(3)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)

    await server.says()

    await asyncio.gather(*waiting)
    assert (server.probes, server.breaker.is_open) == (1, False)


async def test_calls_fail_at_once_after_a_failed_probe() -> None:
    server = Server()
    server.breaker.trip()
    waiting = asyncio.create_task(server.breaker.admit())
    await server.says(OSError("gone"))

    with pytest.raises(DatabaseUnavailable):
        await waiting
    with pytest.raises(DatabaseUnavailable):
        await server.breaker.admit()

    assert [str(error) for error in server.errors] == ["gone"]
    server.breaker.reset()


async def test_probes_repeat_until_one_succeeds() -> None:
    server = Server()
    server.breaker.trip()
    for verdict in (OSError(), OSError(), None):
        server.verdicts.put_nowait(verdict)

    async with asyncio.timeout(30):
        while server.breaker.is_open:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    assert server.probes == 3
    await server.breaker.admit()


async def test_a_successful_call_closes_the_breaker() -> None:
    server = Server()
    server.breaker.trip()
    await server.says(OSError())

    server.breaker.reset()

    await server.breaker.admit()
    assert not server.breaker.is_open


async def test_concurrent_failures_start_one_probe() -> None:
    server = Server()

    for _ in range(5):
        server.breaker.trip()
    await asyncio.sleep(0)

    assert server.probes == 1
    server.breaker.reset()
