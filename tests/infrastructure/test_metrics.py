"""Metrics of adapters, with a real database and real hashing."""

import asyncio
from contextlib import suppress

import httpx

from application.outages import DatabaseUnavailable, HashingBusy
from domain.sessions import SessionId
from infrastructure.database.driver.engine import open_database
from infrastructure.database.driver.statements import Database
from infrastructure.database.queries import SqlQueries
from infrastructure.database.unit_of_work import SqlStorage
from infrastructure.logs import Logs
from infrastructure.metrics import Metrics
from infrastructure.passwords import BcryptPasswords
from tests.prometheus import Scrape

CONNECTIONS = "gatepost_database_connections"


def metrics_of(database: Database, passwords: BcryptPasswords | None = None) -> Metrics:
    logs = Logs("json")
    logs.stop()
    passwords = passwords or BcryptPasswords(cost=4)
    return Metrics([*logs.readings(), *passwords.readings(), *database.readings()])


async def scrape(metrics: Metrics) -> Scrape:
    body, media_type = await metrics.exposition("")
    return Scrape(httpx.Response(200, content=body, headers={"Content-Type": media_type}))


async def test_busy_connections_and_waiting_requests_are_counted(
    postgres_url: str,
) -> None:
    database = open_database(postgres_url, connections=2, timeout=20)
    metrics = metrics_of(database)
    done = asyncio.Event()

    async def work() -> None:
        async with SqlStorage(database)() as uow:
            await uow.users.get(1)  # type: ignore[arg-type]
            await done.wait()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(5):
            tasks.create_task(work())
        async with asyncio.timeout(20):
            while (await scrape(metrics))(f"{CONNECTIONS}_waiting") < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        busy = await scrape(metrics)
        done.set()
    idle = await scrape(metrics)
    await database.close()

    assert busy(f"{CONNECTIONS}_max") == 2
    assert (busy(f"{CONNECTIONS}_in_use"), busy(f"{CONNECTIONS}_waiting")) == (2, 3)
    assert (idle(f"{CONNECTIONS}_in_use"), idle(f"{CONNECTIONS}_waiting")) == (0, 0)


async def test_a_failed_connection_is_not_counted_as_busy() -> None:
    database = open_database("postgresql://127.0.0.1:1/nowhere", connections=2)
    metrics = metrics_of(database)

    for _ in range(3):
        with suppress(DatabaseUnavailable):
            await SqlQueries(database).session_user(SessionId(1))

    seen = await scrape(metrics)
    assert (seen(f"{CONNECTIONS}_in_use"), seen(f"{CONNECTIONS}_waiting")) == (0, 0)


async def test_queries_and_keys_of_lookups_are_counted(postgres_url: str) -> None:
    database = open_database(postgres_url)
    metrics = metrics_of(database)
    queries = SqlQueries(database)
    before = await scrape(metrics)

    await asyncio.gather(*(queries.session_user(SessionId(number)) for number in range(10)))

    after = await scrape(metrics)
    await database.close()
    # The first goes out by itself, all others in one that waits for it.
    for name, difference in (("queries", 2), ("keys", 10)):
        metric = f"gatepost_lookup_{name}_total"
        assert after(metric) - before(metric) == difference


async def test_waiting_and_refused_passwords_are_counted(postgres_url: str) -> None:
    passwords = BcryptPasswords(cost=12)
    metrics = metrics_of(open_database(postgres_url), passwords)

    async with asyncio.TaskGroup() as tasks:
        hashing = [tasks.create_task(hashed(passwords)) for _ in range(50)]
        await asyncio.sleep(0)
        busy = await scrape(metrics)
    idle = await scrape(metrics)

    refused = sum(not task.result() for task in hashing)
    assert busy("gatepost_hashing_refused_total") == refused > 0
    assert busy("gatepost_hashing_waiting") > 0
    assert idle("gatepost_hashing_waiting") == 0


async def hashed(passwords: BcryptPasswords) -> bool:
    try:
        await passwords.hash("correct horse battery")
    except HashingBusy:
        return False
    return True


async def test_an_embedded_database_has_neither_pool_nor_shared_lookups(sqlite_url: str) -> None:
    seen = await scrape(metrics_of(open_database(sqlite_url)))

    assert seen.names() == {
        "gatepost_log_lines_dropped_total",
        "gatepost_hashing_refused_total",
        "gatepost_hashing_waiting",
    }
