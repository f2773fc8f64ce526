"""Failures of the real databases, below the ports."""

import asyncio
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from functools import partial
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import func, select

from application.outages import DatabaseBusy, DatabaseUnavailable, OutcomeUnknown, TakesNoChanges
from application.ports.passwords import PasswordHash
from application.ports.queries import PostList
from domain.errors import Unavailable
from domain.posts import PostId
from domain.sessions import InvalidCredentials, SessionId
from domain.users import UserId
from infrastructure.database.driver.addresses import sqlite_path
from infrastructure.database.driver.engine import open_database
from infrastructure.database.driver.postgresql import PostgresDatabase
from infrastructure.database.driver.postgresql_transaction import PostgresTransaction
from infrastructure.database.driver.sqlite import SqliteDatabase, connect
from infrastructure.database.queries import SqlQueries
from tests.contracts.backends import CHANGE_PASSWORD, PASSWORD, SqlBackend
from tests.factories import NewPostFactory, NewSessionFactory, NewUserFactory
from tests.fakes.clock import NOON
from tests.postgres import PostgresServer, running_postgres
from tests.proxy import proxy_to

TIMEOUT = 0.3
CONNECTIONS = 2


@asynccontextmanager
async def opened(url: str, *, timeout: float = TIMEOUT) -> AsyncIterator[SqlBackend]:  # noqa: ASYNC109
    """With few connections and a short time limit."""
    database = open_database(url, connections=CONNECTIONS, timeout=timeout)
    await database.open()
    try:
        yield SqlBackend(database)
    finally:
        await database.close()


async def ready(backend: SqlBackend) -> list[str]:
    """As it is now, and not as it was up to half a second ago."""
    return await SqlQueries(backend.database).ready()


@contextmanager
def unavailable_in_time() -> Iterator[pytest.ExceptionInfo[Unavailable]]:
    """Whatever is done in here is refused, and nobody waits much longer than the timeout."""
    start = time.monotonic()
    with pytest.raises(Unavailable) as refusal:
        yield refusal
    assert time.monotonic() - start < 3 * TIMEOUT


# Connections


async def test_an_unused_unit_of_work_takes_no_connection(database_url: str) -> None:
    async with opened(database_url) as backend, AsyncExitStack() as busy:
        units = [await busy.enter_async_context(backend.storage()) for _ in range(CONNECTIONS + 3)]
        await units[0].users.add(NewUserFactory.build(), PASSWORD)

        async with backend.storage() as uow:
            await uow.commit()
        assert await ready(backend) == []


async def test_a_wait_for_a_connection_has_a_time_limit(database_url: str) -> None:
    async with opened(database_url) as backend:
        async with AsyncExitStack() as busy:
            with unavailable_in_time():
                for _ in range(CONNECTIONS + 1):
                    uow = await busy.enter_async_context(backend.storage())
                    await uow.users.add(NewUserFactory.build(), PASSWORD)

        for _ in range(3 * CONNECTIONS):
            await backend.add_user()


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 10])
async def test_cancelled_units_of_work_give_their_connections_back(
    database_url: str, turns: int
) -> None:
    """Cancelled while the first ones work and the others wait, at many a moment."""
    async with opened(database_url) as backend:
        anna = await backend.add_user()

        async def work() -> None:
            async with backend.storage() as uow:
                for _ in range(100):
                    await uow.posts.add(NewPostFactory.build(owner_id=anna.id))

        for _ in range(3):
            tasks = [asyncio.create_task(work()) for _ in range(3 * CONNECTIONS)]
            for _ in range(turns):
                await asyncio.sleep(0.001)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        await asyncio.gather(*(backend.add_user() for _ in range(3 * CONNECTIONS)))
        async with backend.storage() as uow:
            post = await uow.posts.add(NewPostFactory.build(owner_id=anna.id))
        assert await backend.post(post.id, anna) is None


async def test_cancelled_reads_give_their_connections_back(database_url: str) -> None:
    async with opened(database_url) as backend:
        anna = await backend.add_user()

        for _ in range(3 * CONNECTIONS):
            task = asyncio.create_task(backend.queries.user(anna.id))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        assert await backend.queries.user(anna.id) is not None


async def test_a_login_waits_for_a_concurrent_change_of_password(database_url: str) -> None:
    async with opened(database_url) as backend:
        anna = await backend.add_user()
        async with backend.database.transaction() as transaction:
            await transaction.fetch(CHANGE_PASSWORD, user=anna.id, password="a new hash")
            login = asyncio.create_task(backend.add_session(anna))
            done, _ = await asyncio.wait([login], timeout=0.05)
            assert not done
            await transaction.commit()

        with pytest.raises(InvalidCredentials):
            await login


async def test_a_change_of_password_waits_for_a_concurrent_login(database_url: str) -> None:
    async with opened(database_url) as backend:
        anna = await backend.add_user()
        async with backend.storage() as uow:
            await uow.sessions.add(NewSessionFactory.build(user_id=anna.id), PASSWORD)
            change = asyncio.create_task(backend.change_password(anna, PasswordHash("a new hash")))
            done, _ = await asyncio.wait([change], timeout=0.05)
            assert not done
            await uow.commit()

        await change


# SQLite


async def test_sqlite_locked_by_another_process_is_unavailable_only_to_writers(
    sqlite_url: str,
) -> None:
    async with opened(sqlite_url) as backend:
        anna = await backend.add_user()
        with closing(sqlite3.connect(str(sqlite_path(sqlite_url)), isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")

            for _ in range(2):
                with unavailable_in_time():
                    await backend.add_user()
            assert await backend.queries.user(anna.id) is not None
            assert await ready(backend) == ["database"]

            other.execute("ROLLBACK")
        assert await ready(backend) == []
        await backend.add_user()


async def test_sqlite_waits_for_another_process_without_blocking_readers(
    sqlite_url: str,
) -> None:
    async with opened(sqlite_url) as backend:
        anna = await backend.add_user()
        with closing(sqlite3.connect(str(sqlite_path(sqlite_url)), isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            writer = asyncio.create_task(backend.add_user())
            await asyncio.sleep(0.02)

            start = time.monotonic()
            assert await backend.queries.user(anna.id) is not None
            assert time.monotonic() - start < 0.1

            other.execute("ROLLBACK")
        await writer


@contextmanager
def held_up(thread: ThreadPoolExecutor) -> Iterator[None]:
    """As by a disk that takes its time."""
    goes_on = threading.Event()
    thread.submit(goes_on.wait)
    try:
        yield
    finally:
        goes_on.set()


async def test_a_commit_to_sqlite_that_takes_too_long_has_an_unknown_outcome(
    sqlite_url: str,
) -> None:
    async with opened(sqlite_url) as backend, AsyncExitStack() as stack:
        assert isinstance(backend.database, SqliteDatabase)
        with unavailable_in_time() as refusal:
            async with backend.storage() as uow:
                await uow.users.add(NewUserFactory.build(), PASSWORD)
                stack.enter_context(held_up(backend.database._write_thread))
                await uow.commit()
        assert isinstance(refusal.value, OutcomeUnknown)
        with unavailable_in_time():
            await backend.add_user()
        assert await ready(backend) == ["database"]

        await stack.aclose()
        await backend.add_user()
        assert await ready(backend) == []


async def test_a_list_from_sqlite_that_takes_too_long_is_unavailable(sqlite_url: str) -> None:
    async with opened(sqlite_url) as backend:
        assert isinstance(backend.database, SqliteDatabase)
        with held_up(backend.database._long_thread):
            for _ in range(2):
                with unavailable_in_time():
                    await backend.queries.users(10, None)

        assert (await backend.queries.users(10, None)).items == []


async def test_a_new_sqlite_file_waits_for_another_process_that_creates_it(tmp_path: Path) -> None:
    """It is not in WAL mode yet, and SQLite does not wait by itself to bring it there."""
    path = tmp_path / "gatepost.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("CREATE TABLE versions (number INTEGER)")
        other.execute("BEGIN IMMEDIATE")
        opening = asyncio.create_task(asyncio.to_thread(connect, path, timeout=5))
        done, _ = await asyncio.wait([opening], timeout=0.05)
        assert not done
        other.execute("COMMIT")

        (await opening).close()


def test_only_their_owner_can_access_new_sqlite_files(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        with closing(connect(tmp_path / "gatepost.db", timeout=1)) as connection:
            connection.execute("CREATE TABLE versions (number INTEGER)")
            modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    finally:
        os.umask(umask)

    names = ("gatepost.db", "gatepost.db-wal", "gatepost.db-shm")
    assert modes == dict.fromkeys(names, 0o600)


def test_an_existing_sqlite_file_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "gatepost.db"
    path.touch()
    path.chmod(0o640)

    connect(path, timeout=1).close()

    assert path.stat().st_mode & 0o777 == 0o640


_WRITE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
with connection:
    connection.execute("UPDATE users SET name = ?", [sys.argv[2]])
connection.close()
"""


async def test_a_process_that_ends_keeps_the_write_ahead_log_of_sqlite(
    sqlite_url: str,
) -> None:
    # The last to close the file removes its log. Whether others have it open is told by POSIX
    # locks, and a process loses all of its own when it closes any descriptor of the file.
    async with opened(sqlite_url) as backend:
        anna = await backend.add_user(name="Anna")
        write = [sys.executable, "-c", _WRITE, sqlite_url.removeprefix("sqlite:///")]

        # The first one may still write to the log that we have open.
        for name in ("Hanna", "Johanna"):
            await asyncio.to_thread(subprocess.run, [*write, name], check=True)

            found = await backend.queries.user(anna.id)
            assert found is not None
            assert found.name == name


@pytest.mark.parametrize("kind", ["no directory", "a directory", "another file"])
async def test_sqlite_that_cannot_be_opened_is_unavailable(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "gatepost.db"
    if kind == "no directory":
        path = tmp_path / "missing" / "gatepost.db"
    elif kind == "a directory":
        path.mkdir()
    else:
        path.write_bytes(os.urandom(10_000))

    with unavailable_in_time():
        await open_database(f"sqlite:///{path}", timeout=TIMEOUT).open()


# PostgreSQL


async def test_the_options_of_an_address_take_effect(postgres_url: str) -> None:
    asked = "application_name=blog&options=-c%20deadlock_timeout%3D20ms&search_path=blog"
    settings = select(*map(func.current_setting, ("application_name", "deadlock_timeout")))
    settings = settings.add_columns(func.current_setting("search_path"))

    async with opened(f"{postgres_url}?{asked}&connect_timeout=2&sslmode=prefer") as backend:
        assert await backend.database.fetch(settings) == [("blog", "20ms", "blog")]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("sslmode=require", "the server takes no TLS, which sslmode asks for"),
        ("options=-c%20colour%3Dblue", 'options: unrecognized configuration parameter "colour"'),
        ("target_session_attrs=standby", "None of the hosts match the target attribute"),
    ],
)
async def test_an_option_that_the_server_refuses_is_named_as_the_reason(
    postgres_url: str, options: str, reason: str
) -> None:
    async with opened(f"{postgres_url}?{options}") as backend:
        with unavailable_in_time() as refusal:
            await backend.queries.user(UserId(1))

    assert reason in str(refusal.value.__cause__)


@contextmanager
def silent_server() -> Iterator[int]:
    """The port of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


async def everything_is_unavailable(url: str) -> bool:
    async with opened(url) as backend:
        with unavailable_in_time():
            await backend.add_user()
        with unavailable_in_time():
            await backend.queries.credentials("anna@example.com")
        start = time.monotonic()
        assert await ready(backend) == ["database"]
        assert time.monotonic() - start < 3 * TIMEOUT
    return True


async def test_a_closed_port_is_unavailable() -> None:
    with silent_server() as port:
        pass

    assert await everything_is_unavailable(f"postgresql://gatepost@127.0.0.1:{port}/gatepost")


async def test_a_silent_server_is_unavailable() -> None:
    with silent_server() as port:
        assert await everything_is_unavailable(f"postgresql://gatepost@127.0.0.1:{port}/gatepost")


async def test_a_missing_database_is_unavailable(postgres: PostgresServer) -> None:
    assert await everything_is_unavailable(postgres.url("missing"))


async def test_an_unknown_user_is_unavailable(postgres_url: str) -> None:
    assert await everything_is_unavailable(postgres_url.replace("gatepost:", "nobody:"))


@asynccontextmanager
async def administrator(url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def kill_others(url: str) -> int:
    """End all connections to a database, as an administrator or a failover does."""
    async with administrator(url) as connection:
        killed = await connection.fetch(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    return len(killed)


async def test_a_connection_killed_during_a_statement_fails_once(postgres_url: str) -> None:
    async with opened(postgres_url) as backend:
        anna = await backend.add_user()
        with unavailable_in_time():
            async with backend.storage() as uow:
                await uow.users.add(NewUserFactory.build(), PASSWORD)
                assert await kill_others(postgres_url) == 1
                await uow.users.add(NewUserFactory.build(), PASSWORD)

        for _ in range(2 * CONNECTIONS):
            post = await backend.add_post(anna)
        assert await backend.post(post.id, anna) is not None


async def test_a_connection_killed_before_the_commit_fails_once(
    postgres_url: str,
) -> None:
    async with opened(postgres_url) as backend:
        with unavailable_in_time():
            async with backend.storage() as uow:
                anna = await uow.users.add(NewUserFactory.build(), PASSWORD)
                assert await kill_others(postgres_url) == 1
                await uow.commit()

        assert await backend.queries.user(anna.id) is None


async def test_connections_killed_while_idle_are_replaced(postgres_url: str) -> None:
    async with opened(postgres_url) as backend:
        anna, *_ = await asyncio.gather(*(backend.add_user() for _ in range(2 * CONNECTIONS)))
        assert await kill_others(postgres_url) == CONNECTIONS
        await asyncio.sleep(0.01)

        for _ in range(2 * CONNECTIONS):
            assert await backend.queries.user(anna.id) is not None


async def test_a_statement_that_takes_too_long_fails_once(postgres_url: str) -> None:
    async with opened(postgres_url) as backend, administrator(postgres_url) as other:
        anna = await backend.add_user()
        async with other.transaction():
            await other.execute("LOCK TABLE posts")
            with unavailable_in_time():
                await backend.add_post(anna)

        post = await backend.add_post(anna)
        assert await backend.post(post.id, anna) is not None


_IDLE_IN_TRANSACTION = (
    "SELECT state, query FROM pg_stat_activity"
    " WHERE datname = current_database() AND state LIKE 'idle in transaction%'"
)


async def test_no_transaction_stays_open(postgres_url: str) -> None:
    """An idle one keeps the database from cleaning up."""
    async with opened(postgres_url) as backend, administrator(postgres_url) as other:
        for _ in range(30):
            task = asyncio.create_task(backend.add_user())
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await ready(backend)

        # The server ends a closed connection a moment later, a leaked one after 5 s.
        async with asyncio.timeout(3):
            while await other.fetch(_IDLE_IN_TRANSACTION):  # noqa: ASYNC110  the server tells nobody
                await asyncio.sleep(0.02)


async def is_back(backend: SqlBackend) -> None:
    """Wait for the probe that finds the server."""
    async with asyncio.timeout(2):
        while await ready(backend):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_server_that_comes_back_is_used_again(
    postgres: PostgresServer, postgres_url: str
) -> None:
    async with opened(postgres_url) as backend:
        anna = await backend.add_user()
        postgres.stop(immediate=True)
        try:
            for _ in range(CONNECTIONS + 1):
                with unavailable_in_time():
                    await backend.queries.user(anna.id)
                with unavailable_in_time():
                    await backend.add_user()
            assert await ready(backend) == ["database"]
        finally:
            postgres.start()

        await is_back(backend)
        assert await backend.queries.user(anna.id) is not None
        await backend.add_user()


async def test_a_concurrent_migration_does_not_disturb_reads(postgres_url: str) -> None:
    """A connection prepares its statements again after the schema has changed."""
    async with opened(postgres_url) as backend, administrator(postgres_url) as other:
        anna = await backend.add_user()
        post = await backend.add_post(anna)
        assert await backend.post(post.id, anna) is not None

        await other.execute("ALTER TABLE users ALTER COLUMN name TYPE text")

        assert await backend.post(post.id, anna) is not None


async def test_a_concurrent_migration_fails_a_transaction_once(postgres_url: str) -> None:
    async with opened(postgres_url) as backend, administrator(postgres_url) as other:
        post = await backend.add_post(await backend.add_user())
        async with backend.storage() as uow:
            assert await uow.posts.details(post.id, post.owner_id, NOON) is not None

        await other.execute("ALTER TABLE users ALTER COLUMN name TYPE text")

        with pytest.raises(Unavailable):
            async with backend.storage() as uow:
                await uow.posts.details(post.id, post.owner_id, NOON)
        async with backend.storage() as uow:
            assert await uow.posts.details(post.id, post.owner_id, NOON) is not None


async def test_a_whole_transaction_has_the_time_budget_of_one_call(postgres_url: str) -> None:
    async with opened(postgres_url, timeout=1.0) as backend, AsyncExitStack() as stack:
        anna = await backend.add_user()
        first, second = [
            await stack.enter_async_context(administrator(postgres_url)) for _ in range(2)
        ]
        lock, other_lock = first.transaction(), second.transaction()
        await lock.start()
        await first.execute("LOCK TABLE users")
        await other_lock.start()
        await second.execute("LOCK TABLE votes")

        async def let_the_first_statement_through() -> None:
            await asyncio.sleep(0.6)
            await lock.rollback()

        start = time.monotonic()
        async with asyncio.TaskGroup() as tasks, backend.storage() as uow:
            tasks.create_task(let_the_first_statement_through())
            assert await uow.users.get(anna.id) is not None
            assert time.monotonic() - start >= 0.6
            with pytest.raises(Unavailable):
                await uow.posts.details(PostId(1), anna.id, NOON)
            assert time.monotonic() - start < 1.4
        await other_lock.rollback()


@pytest.mark.parametrize(("readers", "at_work"), [(1, 2), (2, 4), (5, 4)])
async def test_long_reads_leave_connections_for_others(
    postgres_url: str, readers: int, at_work: int
) -> None:
    """They have a quarter of all, and those of one user two."""
    database = open_database(postgres_url, connections=16, timeout=10)
    assert isinstance(database, PostgresDatabase)
    backend = SqlBackend(database)
    users = [await backend.add_user() for _ in range(readers)]
    session = await backend.add_session(users[0])
    async with administrator(postgres_url) as other:
        async with other.transaction():
            await other.execute("LOCK TABLE posts")
            lists = [
                asyncio.create_task(backend.queries.posts(PostList(viewer=user, limit=1), NOON))
                for user in users * 8
            ]
            async with asyncio.timeout(10):
                while await other.fetchval(WAITING) < at_work:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                for _ in range(20):
                    assert await backend.queries.session_user(session.id) is not None
            assert database.pool.in_use == at_work

        assert all(page.items == [] for page in await asyncio.gather(*lists))
    await database.close()


WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted"


async def test_a_statement_that_takes_too_long_closes_no_other_connection(
    postgres_url: str,
) -> None:
    async with opened(postgres_url, timeout=1.0) as backend, administrator(postgres_url) as other:
        anna = await backend.add_user()
        session = await backend.add_session(anna)
        async with other.transaction():
            await other.execute("LOCK TABLE posts")
            listing = backend.queries.posts(PostList(viewer=anna, limit=1), NOON)
            slow = asyncio.create_task(listing)
            pids = set()
            while not slow.done():
                pids |= {await pid_of(backend)}
                assert await backend.queries.session_user(session.id) is not None
                await asyncio.sleep(0.01)

        with pytest.raises(DatabaseBusy):
            await slow
        assert pids == {await pid_of(backend)}


async def pid_of(backend: SqlBackend) -> int:
    """The server's process behind the connection that was used last."""
    ((pid,),) = await backend.database.fetch(PID)
    return int(pid)


PID = select(func.pg_backend_pid())


async def test_a_hanging_lookup_leaves_time_for_the_next_ones(
    postgres_url: str,
) -> None:
    async with opened(postgres_url, timeout=1.0) as backend, administrator(postgres_url) as other:
        await backend.add_user()

        async def ask(number: int) -> float:
            await asyncio.sleep(number * 0.1)
            start = time.monotonic()
            with pytest.raises(Unavailable):
                await backend.queries.session_user(SessionId(number))
            return time.monotonic() - start

        async with other.transaction():
            await other.execute("LOCK TABLE sessions")
            assert max(await asyncio.gather(*map(ask, range(8)))) < 1.4

        assert await backend.queries.session_user(SessionId(1)) is None


async def test_the_server_cancels_an_abandoned_statement(postgres_url: str) -> None:
    async with opened(postgres_url) as backend, administrator(postgres_url) as other:
        anna = await backend.add_user()
        async with other.transaction():
            await other.execute("LOCK TABLE posts")
            for _ in range(CONNECTIONS + 1):
                with unavailable_in_time():
                    await backend.add_post(anna)
                with unavailable_in_time():
                    await backend.post(PostId(1), anna)

            deadline = time.monotonic() + 10
            while await other.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.01)

        while await ready(backend):  # on a busy machine the last probe may have failed
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        await asyncio.gather(*(backend.add_post(anna) for _ in range(2 * CONNECTIONS)))


async def test_a_commit_that_was_not_sent_has_a_known_outcome(postgres_url: str) -> None:
    async with opened(postgres_url) as backend, AsyncExitStack() as stack:
        anna = await backend.add_user()
        uow = await stack.enter_async_context(backend.storage())
        await uow.posts.add(NewPostFactory.build(owner_id=anna.id))
        for _ in range(CONNECTIONS):
            busy = await stack.enter_async_context(backend.database.transaction())
            await busy.fetch(CHANGE_PASSWORD, user=0, password="nobody's")

        with unavailable_in_time() as refusal:
            await uow.commit()

        assert type(refusal.value) is DatabaseUnavailable


async def test_a_transaction_with_a_lost_connection_can_be_closed(postgres_url: str) -> None:
    async with opened(postgres_url) as backend:
        for _ in range(CONNECTIONS + 1):
            async with backend.database.transaction() as transaction:
                await transaction.fetch(CHANGE_PASSWORD, user=0, password="nobody's")
                assert isinstance(transaction, PostgresTransaction)
                assert transaction._connection
                transaction._connection.terminate()  # as asyncpg does when it can't cancel


async def test_one_dead_connection_closes_the_idle_ones(
    postgres: PostgresServer, postgres_url: str
) -> None:
    """All that lie idle are dead then, and to find each out would take its own time."""
    with proxy_to(postgres.port) as proxy:
        url = postgres_url.replace(f":{postgres.port}/", f":{proxy.port}/")
        async with opened(url) as backend:
            await asyncio.gather(*(backend.add_user() for _ in range(2 * CONNECTIONS)))
            proxy.swallow()
            with unavailable_in_time():
                await backend.queries.users(1, None)
            proxy.heal()

            assert (await backend.queries.users(1, None)).items


async def test_a_server_that_has_become_read_only_is_left(postgres_url: str) -> None:
    """Another connection may lead to another server."""
    name = postgres_url.rpartition("/")[2]
    async with opened(postgres_url) as backend:
        anna = await backend.add_user()
        for change in (backend.add_user, partial(backend.add_post, anna)):
            async with administrator(postgres_url) as other:
                await other.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
            await kill_others(postgres_url)
            await asyncio.sleep(0.05)  # for the news to arrive
            with unavailable_in_time() as refusal:
                await change()
            assert isinstance(refusal.value, TakesNoChanges)
            async with administrator(postgres_url) as other:
                await other.execute("SET default_transaction_read_only = off")
                await other.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")

            await change()


async def test_a_hanging_host_among_several_is_skipped(
    postgres: PostgresServer, postgres_url: str
) -> None:
    with silent_server() as port:
        hosts = f"127.0.0.1:{port},127.0.0.1:{postgres.port}"
        url = postgres_url.replace(f"127.0.0.1:{postgres.port}", hosts)
        async with opened(url, timeout=1.0) as backend:
            start = time.monotonic()
            await backend.add_user()
            assert time.monotonic() - start >= 0.5
            await kill_others(postgres_url)

            start = time.monotonic()
            await backend.add_user()
            assert time.monotonic() - start < 0.5


async def test_a_standby_is_not_ready_to_serve(postgres: PostgresServer, postgres_url: str) -> None:
    with running_postgres(primary=postgres) as standby:
        async with opened(standby.url(postgres_url.rpartition("/")[2])) as backend:
            with unavailable_in_time():
                await backend.add_user()
            assert await ready(backend) == ["database"]
