"""SQLite, on the standard library's driver.

Reads by key and the statements of a transaction run in the event loop: they take less time than a
switch to a thread. Lists, waiting for the write lock and the commit, which waits for the disk, run
in threads.
"""

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

from sqlalchemy import Delete, Dialect, Insert, Select, Update, bindparam, column, select, table
from sqlalchemy.dialects import sqlite as sqlalchemy_sqlite

from application.outages import (
    DatabaseUnavailable,
    OutcomeUnknown,
    SchemaMissing,
    SerializationFailure,
    TakesNoChanges,
)
from infrastructure.database.driver.long_reads import LongReads
from infrastructure.database.driver.outages import Failures
from infrastructure.database.driver.statements import (
    INSERTED,
    Change,
    Clause,
    Compiled,
    ConstraintViolated,
    Database,
    Record,
    compiled,
)

DIALECT = sqlalchemy_sqlite.dialect()

# Where AUTOINCREMENT keeps the last id of each table.
_LAST_ID: Select[Any] = (
    select(column("seq"))
    .select_from(table("sqlite_sequence"))
    .where(column("name") == bindparam("table"))
)


_CANNOT_WRITE = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
)


def _mapping_errors(error: BaseException) -> Exception | None:
    if isinstance(error, sqlite3.IntegrityError):
        return ConstraintViolated(_constraint(str(error)))
    if isinstance(error, sqlite3.OperationalError):
        missing = str(error).startswith(("no such table", "no such column"))
        return SchemaMissing() if missing else DatabaseUnavailable()
    if type(error) is sqlite3.DatabaseError:
        return DatabaseUnavailable()  # the file is damaged or is no database
    return DatabaseUnavailable() if isinstance(error, TimeoutError) else None


def _may_have_lasted(error: BaseException | None) -> bool:
    """Whether the commit may have succeeded despite this error."""
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(error, TimeoutError) or code == sqlite3.SQLITE_IOERR_FSYNC


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise TakesNoChanges from error
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF in _CANNOT_WRITE:  # the primary one of its codes
            raise TakesNoChanges from error
        raise


def _constraint(message: str) -> str:
    """The constraint's name, as PostgreSQL reports it.

    SQLite reports "UNIQUE constraint failed: users.email_key", and does not name foreign keys.
    """
    kind, _, column = message.partition(" constraint failed: ")
    return f"uq_{column.replace('.', '_')}" if kind == "UNIQUE" else "fk"


def connect(path: Path, timeout: float) -> sqlite3.Connection:
    """Open a connection with manual transactions, foreign keys, and WAL, so that readers never wait
    for the writer.

    Only the owner may read and write a new file. SQLite gives `-wal` and `-shm` the same mode.
    """
    # Never open an existing file here: closing its descriptor would drop the POSIX locks of our
    # other connections, and the next process to close the file would remove their log.
    with suppress(OSError):  # SQLite reports the reason
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(
        path, timeout=timeout, isolation_level=None, check_same_thread=False, cached_statements=512
    )
    try:
        _use_wal(connection, timeout)
        connection.execute("PRAGMA foreign_keys = ON")
        # With WAL, only FULL syncs a commit to the disk before it returns.
        connection.execute("PRAGMA synchronous = FULL")
    except BaseException:
        connection.close()
        raise
    return connection


def _use_wal(connection: sqlite3.Connection, timeout: float) -> None:
    """Switch to WAL. Retries, because SQLite itself does not wait for another process that switches
    a new file.
    """
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


class SqliteDatabase(Database):
    """Two connections for reads and one for writes. Other processes may use the same file.

    A read, and a transaction as a whole, may take `timeout` seconds, including the waits for locks
    and for the disk.
    """

    dialect: Dialect = DIALECT
    is_remote = False

    def __init__(self, path: Path, *, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self._failures = Failures(_mapping_errors)
        self._long_reads = LongReads(1, per_reader=1)

    async def open(self) -> None:
        with self._failures:
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
        with self._failures:
            return _run(self._reader, compiled(clause, DIALECT), values)

    async def fetch_long(
        self, clause: Clause, *, reader: int | None = None, **values: Any
    ) -> Sequence[Record]:
        run = partial(_run, self._long_reader, compiled(clause, DIALECT), values)
        with self._failures:
            async with asyncio.timeout(self._timeout), self._long_reads.place(reader):
                return await asyncio.get_running_loop().run_in_executor(self._long_thread, run)

    async def check(self) -> None:
        """Rewrite a value in the file, but only after a write has failed."""
        if self._failures.writes.is_on:
            async with self.transaction() as transaction:
                await transaction.touch()

    @asynccontextmanager
    async def transaction(self) -> "AsyncIterator[SqliteTransaction]":
        transaction = SqliteTransaction(
            self._writer, self._write_lock, self._write_thread, self._failures, self._timeout
        )
        try:
            yield transaction
        finally:
            transaction.end()


class SqliteTransaction:
    """Blocking work runs in `thread`, one call at a time."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        lock: asyncio.Lock,
        thread: ThreadPoolExecutor,
        failures: Failures,
        timeout: float,
    ) -> None:
        self._connection = connection
        self._lock = lock
        self._thread = thread
        self._failures = failures
        self._timeout = timeout
        self._until = 0.0
        """Its deadline, in the loop's time."""
        self._locked = False
        self._waiting = False
        self._unsent: list[
            tuple[Insert | Update | Delete, dict[str, Any], bool, Insert | None]
        ] = []

    async def fetch(self, clause: Clause, **values: Any) -> Sequence[Record]:
        with self._failures:
            await self._send()
            with _writing():
                return _run(self._connection, compiled(clause, DIALECT), values)

    async def add(self, clause: Insert, **values: Any) -> int:
        last = await self.fetch(_LAST_ID, table=clause.table.name)
        new_id: int = last[0][0] + 1 if last else 1
        self.defer(clause, id=new_id, **values)
        return new_id

    def defer(
        self,
        clause: Change,
        *,
        guarded: bool = False,
        then: Insert | None = None,
        **values: Any,
    ) -> None:
        self._unsent.append((clause, values, guarded, then))

    async def _send(self) -> None:
        """Begin the transaction if necessary, and run the deferred statements."""
        if not self._locked:
            await self._begin()
        with _writing():
            while self._unsent:
                clause, values, guarded, then = self._unsent.pop(0)
                if not _run(self._connection, compiled(clause, DIALECT), values) and guarded:
                    raise SerializationFailure
                if then is not None:
                    self._connection.execute(_following(then, str(clause.table))).fetchall()

    async def commit(self) -> None:
        if self._unsent:
            with self._failures:
                await self._send()
        if not self._locked:
            return
        with self._failures:
            try:
                await self._in_thread(self._connection.execute, "COMMIT")
            except TakesNoChanges as error:
                if _may_have_lasted(error.__cause__):
                    raise OutcomeUnknown from error.__cause__
                raise
        if self._failures.writes.is_on and self._connection.total_changes > self._changes:
            self._failures.writes.answered()

    async def touch(self) -> None:
        """Write to the file without a change of its content."""
        with self._failures:
            await self._begin()
            with _writing():
                ((version,),) = self._connection.execute("PRAGMA user_version")
                self._connection.execute(f"PRAGMA user_version = {version}")
            await self._in_thread(self._connection.execute, "COMMIT")
        self._failures.writes.answered()

    def end(self) -> None:
        """Roll back what was not committed, then release the write lock.

        The lock is held until the thread has finished its work on the connection.
        """
        if not self._locked:
            return
        if not self._waiting and not self._connection.in_transaction:
            self._lock.release()
            return
        undone = asyncio.get_running_loop().run_in_executor(self._thread, self._undo)
        undone.add_done_callback(lambda _: self._lock.release())

    def _undo(self) -> None:
        with suppress(sqlite3.Error):  # the next transaction tries again
            self._connection.rollback()

    async def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        self._until = loop.time() + self._timeout
        with _writing():
            async with asyncio.timeout_at(self._until):
                await self._lock.acquire()
        self._locked = True
        self._changes = self._connection.total_changes
        await self._in_thread(self._begin_immediate, self._until - loop.time())

    def _begin_immediate(self, seconds: float) -> None:
        if self._connection.in_transaction:
            self._connection.rollback()
        self._connection.execute(f"PRAGMA busy_timeout = {max(0.0, seconds) * 1000:.0f}")
        # IMMEDIATE, because SQLite may refuse a lock at the first write without waiting.
        self._connection.execute("BEGIN IMMEDIATE")

    async def _in_thread(self, work: Callable[..., object], *arguments: object) -> None:
        self._waiting = True
        with _writing():
            async with asyncio.timeout_at(self._until):
                await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)
        self._waiting = False


@cache
def _following(clause: Insert, table: str) -> str:
    """`clause`, with the last row that was inserted into `table` as its `INSERTED`."""
    last = f"SELECT * FROM {table} WHERE id = last_insert_rowid()"  # noqa: S608  no input
    return f"WITH {INSERTED} AS ({last}) {compiled(clause, DIALECT).sql}"


def _run(
    connection: sqlite3.Connection, statement: Compiled, values: dict[str, Any]
) -> Sequence[Record]:
    rows = connection.execute(statement.sql, statement.arguments(values)).fetchall()
    return statement.converted(rows)
