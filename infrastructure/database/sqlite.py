"""SQLite, on the standard library's driver.

Reads by key and the statements of a transaction run in the event loop itself: they take less time
than handing them to a thread would. What may take long does not: lists, taking the write lock and
the commit, which waits for the disk, run in a thread of their own.
"""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Dialect, Insert, Update
from sqlalchemy.dialects import sqlite as sqlalchemy_sqlite

from infrastructure.database.statements import (
    Clause,
    Compiled,
    ConstraintViolated,
    DatabaseUnavailable,
    Record,
    SchemaMissing,
    compiled,
)

DIALECT = sqlalchemy_sqlite.dialect()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.IntegrityError as error:
        raise ConstraintViolated(_constraint(str(error))) from error
    except sqlite3.OperationalError as error:
        if str(error).startswith("no such table"):
            raise SchemaMissing from error
        raise DatabaseUnavailable from error
    except sqlite3.DatabaseError as error:
        if type(error) is not sqlite3.DatabaseError:
            raise  # a mistake of ours
        raise DatabaseUnavailable from error  # no database at all, or a damaged one


def _constraint(message: str) -> str:
    """The constraint's name as PostgreSQL would tell it.

    SQLite says "UNIQUE constraint failed: users.email_key", and never which foreign key it was.
    """
    kind, _, column = message.partition(" constraint failed: ")
    return f"uq_{column.replace('.', '_')}" if kind == "UNIQUE" else "fk"


def connect(path: Path, timeout: float) -> sqlite3.Connection:
    """Manual transactions; foreign keys on; WAL, so that readers never wait for the writer."""
    connection = sqlite3.connect(
        path, timeout=timeout, isolation_level=None, check_same_thread=False, cached_statements=512
    )
    try:
        _use_wal(connection, timeout)
        connection.execute("PRAGMA foreign_keys = ON")
        # With WAL, a commit reaches the disk before it is acknowledged at FULL alone.
        connection.execute("PRAGMA synchronous = FULL")
    except BaseException:
        connection.close()
        raise
    return connection


def _use_wal(connection: sqlite3.Connection, timeout: float) -> None:
    """SQLite itself does not wait for another process that is at this with a new file."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


class SqliteDatabase:
    """Two connections that read, one that writes; other processes may do the same to the file.
    Whoever waits longer than `timeout` seconds for a lock is told that the database is unavailable.
    """

    dialect: Dialect = DIALECT
    is_remote = False

    def __init__(self, path: Path, *, timeout: float) -> None:
        self._path = path
        self._timeout = timeout

    async def open(self) -> None:
        with _translated():
            self._reader, self._long_reader, self._writer = (
                connect(self._path, self._timeout) for _ in range(3)
            )
        self._long_thread = ThreadPoolExecutor(1, "sqlite-lists")
        self._write_thread = ThreadPoolExecutor(1, "sqlite-writer")
        self._write_lock = asyncio.Lock()

    async def close(self) -> None:
        for thread in (self._long_thread, self._write_thread):
            thread.shutdown(cancel_futures=True)
        for connection in (self._reader, self._long_reader, self._writer):
            connection.close()

    async def fetch(self, clause: Clause, **values: Any) -> Sequence[Record]:
        return _run(self._reader, compiled(clause, DIALECT), values)

    async def fetch_long(self, clause: Clause, **values: Any) -> Sequence[Record]:
        run = partial(_run, self._long_reader, compiled(clause, DIALECT), values)
        return await asyncio.get_running_loop().run_in_executor(self._long_thread, run)

    @asynccontextmanager
    async def transaction(self) -> "AsyncIterator[SqliteTransaction]":
        transaction = SqliteTransaction(
            self._writer, self._write_lock, self._write_thread, self._timeout
        )
        try:
            yield transaction
        finally:
            await transaction.end()


class SqliteTransaction:
    """What waits runs in `thread`, which takes one piece of work after the other."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        lock: asyncio.Lock,
        thread: ThreadPoolExecutor,
        timeout: float,
    ) -> None:
        self._connection = connection
        self._lock = lock
        self._thread = thread
        self._timeout = timeout
        self._locked = False
        self._waiting = False
        self._unsent: list[tuple[Insert | Update, dict[str, Any]]] = []

    async def fetch(self, clause: Clause, **values: Any) -> Sequence[Record]:
        if not self._locked:
            await self._begin()
        return _run(self._connection, compiled(clause, DIALECT), values)

    async def add(self, clause: Insert, **values: Any) -> int:
        records = await self.fetch(clause, id=None, **values)
        new_id: int = records[0][0]
        return new_id

    def add_later(self, clause: Insert | Update, **values: Any) -> None:
        self._unsent.append((clause, values))

    async def commit(self) -> None:
        for clause, values in self._unsent:
            await self.fetch(clause, **values)
        if self._locked:
            await self._aside("COMMIT")

    async def end(self) -> None:
        """Undo what was not committed and let the next writer in."""
        if not self._locked:
            return
        if not self._waiting and not self._connection.in_transaction:
            self._lock.release()
            return
        # Cancelled or not, the lock is held until the thread is through with the connection.
        undone = asyncio.get_running_loop().run_in_executor(self._thread, self._connection.rollback)
        undone.add_done_callback(lambda _: self._lock.release())
        await asyncio.shield(undone)

    async def _begin(self) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                await self._lock.acquire()
        except TimeoutError as error:
            raise DatabaseUnavailable from error
        self._locked = True
        # IMMEDIATE: a lock taken only at the first write may be refused without any waiting.
        await self._aside("BEGIN IMMEDIATE")

    async def _aside(self, sql: str) -> None:
        self._waiting = True
        with _translated():
            await asyncio.get_running_loop().run_in_executor(
                self._thread, self._connection.execute, sql
            )
        self._waiting = False


def _run(
    connection: sqlite3.Connection, statement: Compiled, values: dict[str, Any]
) -> Sequence[Record]:
    with _translated():
        rows = connection.execute(statement.sql, statement.arguments(values)).fetchall()
    return statement.converted(rows)
