"""PostgreSQL, on asyncpg and a pool of our own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from typing import Any

import asyncpg
from sqlalchemy import Boolean, Dialect, func, select

from application.outages import (
    DatabaseBusy,
    DatabaseUnavailable,
    SchemaMissing,
    SerializationFailure,
    TakesNoChanges,
)
from application.ports.adapter import Reading
from infrastructure.database.driver.addresses import postgres_address
from infrastructure.database.driver.connections import DIALECT, DOWN
from infrastructure.database.driver.long_reads import LongReads
from infrastructure.database.driver.lookups import BATCHES, SharedLookup
from infrastructure.database.driver.notifications import listen
from infrastructure.database.driver.outages import Failures
from infrastructure.database.driver.pool import ConnectionPool
from infrastructure.database.driver.postgresql_transaction import PostgresTransaction, new_ids
from infrastructure.database.driver.retries import retrying
from infrastructure.database.driver.shared_changes import SharedChanges
from infrastructure.database.driver.statements import (
    Clause,
    ConstraintViolated,
    Database,
    Record,
    compiled,
)

_Send = Callable[[str, Sequence[Any]], Awaitable[Sequence[Record]]]

_IS_STANDBY = select(func.pg_is_in_recovery(type_=Boolean))


def _mapping_errors(error: BaseException) -> Exception | None:
    if isinstance(error, asyncpg.IntegrityConstraintViolationError):
        return ConstraintViolated(error.constraint_name or "")
    if isinstance(error, (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)):
        return SerializationFailure()
    if isinstance(error, asyncpg.TransactionRollbackError):
        return DatabaseUnavailable()
    if isinstance(error, (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError)):
        return SchemaMissing()
    if isinstance(error, (asyncpg.ReadOnlySQLTransactionError, asyncpg.DiskFullError)):
        return TakesNoChanges()
    if isinstance(error, asyncpg.DataError):
        return None  # a mistake of ours, though asyncpg's own kind is an InterfaceError too
    return DatabaseUnavailable() if isinstance(error, DOWN) else None


class PostgresDatabase(Database):
    """At most `size` connections, made when needed. A read and a transaction as a whole may take
    `timeout` seconds, wherever they spend them. The log calls the database by its `name`.
    """

    dialect: Dialect = DIALECT
    is_remote = True

    def __init__(
        self, url: str, *, size: int = 5, timeout: float = 1.2, name: str = "the database"
    ) -> None:
        self.timeout = timeout
        self._url = url
        self._failures = Failures(self._translated, name)
        self.pool = ConnectionPool(
            url, size=size, timeout=timeout, failed=self._failures.outage.failed
        )
        # A quarter of the connections, so that searches do not keep authentication waiting.
        self._long_reads = LongReads(max(1, size // 4), per_reader=2)
        self._ids: dict[str, SharedLookup] = {}
        self._changes: dict[str, SharedChanges] = {}
        self._number = count()

    async def open(self) -> None:
        """Nothing to do: the first request connects."""

    async def close(self) -> None:
        await self.pool.close()

    def readings(self) -> Sequence[Reading]:
        return (*BATCHES.readings(), *self.pool.readings())

    def _translated(self, error: BaseException) -> Exception | None:
        ours = _mapping_errors(error)
        if type(ours) is DatabaseUnavailable and not self.pool.suspect(error):
            return DatabaseBusy()
        return ours

    async def fetch(self, clause: Clause, **values: Any) -> Sequence[Record]:
        return await self._fetch(self._send, clause, values)

    async def fetch_shared(self, clause: Clause, **values: Any) -> Sequence[Record]:
        return await self._fetch(partial(self._send, within=self.timeout / 2), clause, values)

    async def fetch_long(
        self, clause: Clause, *, reader: int | None = None, **values: Any
    ) -> Sequence[Record]:
        return await self._fetch(partial(self._send_long, reader=reader), clause, values)

    async def _fetch(
        self, send: _Send, clause: Clause, values: Mapping[str, Any]
    ) -> Sequence[Record]:
        statement = compiled(clause, DIALECT)
        arguments = statement.arguments(values)
        try:
            records = await send(statement.sql, arguments)
        except SerializationFailure:
            records = await retrying(partial(send, statement.sql, arguments))
        return statement.converted(records)

    async def _send(
        self, sql: str, arguments: Sequence[Any], within: float | None = None
    ) -> Sequence[Record]:
        with self._failures:
            async with asyncio.timeout(within or self.timeout):
                return await self.pool.fetch(sql, arguments)

    async def _send_long(
        self, sql: str, arguments: Sequence[Any], reader: int | None
    ) -> Sequence[Record]:
        with self._failures:
            async with asyncio.timeout(self.timeout), self._long_reads.place(reader):
                return await self.pool.fetch(sql, arguments)

    async def listen(self, channel: str, heard: Callable[[], None]) -> None:
        await listen(postgres_address(self._url), channel, heard, within=10)

    async def check(self) -> None:
        ((is_standby,),) = await self.fetch(_IS_STANDBY)
        if is_standby:
            raise TakesNoChanges

    async def _new_id(self, table: str) -> int:
        """From the table's sequence; those who ask at the same time share the round trip."""
        ids = self._ids.get(table)
        if ids is None:
            ids = self._ids[table] = SharedLookup(self, new_ids(table), ["number"])
        record = await ids(next(self._number))
        assert record is not None  # noqa: S101  a record for each number
        new_id: int = record[0]
        return new_id

    def _shared(self, sql: str) -> SharedChanges:
        changes = self._changes.get(sql)
        if changes is None:
            changes = SharedChanges(self.pool, self._failures, sql, self.timeout)
            self._changes[sql] = changes
        return changes

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[PostgresTransaction]:
        transaction = PostgresTransaction(
            self.pool, self._failures, self._new_id, self._shared, self.timeout
        )
        try:
            yield transaction
        except TakesNoChanges:
            transaction.drop()  # the next connection may be to a server that does
            raise
        finally:
            await transaction.end()
