"""PostgreSQL, on asyncpg and its pool."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, cast

import asyncpg
from sqlalchemy import Dialect
from sqlalchemy.dialects.postgresql import asyncpg as sqlalchemy_asyncpg

from infrastructure.database.statements import (
    Clause,
    ConstraintViolated,
    DatabaseUnavailable,
    OutcomeUnknown,
    Record,
    SchemaMissing,
    compiled,
)

DIALECT = sqlalchemy_asyncpg.dialect()  # type: ignore[no-untyped-call]

_DOWN = (
    OSError,  # TimeoutError among them
    asyncpg.PostgresConnectionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except asyncpg.IntegrityConstraintViolationError as error:
        raise ConstraintViolated(error.constraint_name or "") from error
    except asyncpg.UndefinedTableError as error:
        raise SchemaMissing from error
    except asyncpg.DataError:
        raise  # a mistake of ours, though asyncpg's own kind is an InterfaceError too
    except _DOWN as error:
        raise DatabaseUnavailable from error


class ConnectionPool:
    """Connections, the one used last first.

    asyncpg's own pool costs 35 microseconds a use, as much as a query: it makes a task of each
    release, and by default resets the connection by a query. Nothing here changes a connection's
    state, and transactions end before theirs is given back.
    """

    def __init__(self, url: str, *, size: int, timeout: float) -> None:
        self._url = url
        self._timeout = timeout
        self._free = asyncio.Semaphore(size)
        self._idle: list[Connection] = []

    async def take(self) -> Connection:
        if self._free.locked():
            async with asyncio.timeout(self._timeout):
                await self._free.acquire()
        else:
            await self._free.acquire()
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        try:
            return await asyncpg.connect(
                self._url, timeout=self._timeout, command_timeout=self._timeout
            )
        except BaseException:
            self._free.release()
            raise

    def give_back(self, connection: Connection) -> None:
        self._idle.append(connection)
        self._free.release()

    def drop(self, connection: Connection) -> None:
        connection.terminate()
        self._free.release()

    def close(self) -> None:
        for connection in self._idle:
            connection.terminate()
        self._idle.clear()


class PostgresDatabase:
    """At most `size` connections, made when needed. Whoever waits longer than `timeout` seconds,
    for a connection or for an answer, is told that the database is unavailable.
    """

    dialect: Dialect = DIALECT
    is_remote = True

    def __init__(self, url: str, *, size: int, timeout: float) -> None:
        self._pool = ConnectionPool(url, size=size, timeout=timeout)

    async def open(self) -> None:
        """Nothing to do: the first request connects."""

    async def close(self) -> None:
        self._pool.close()

    async def fetch(self, clause: Clause, **values: Any) -> Sequence[Record]:
        statement = compiled(clause, DIALECT)
        arguments = statement.arguments(values)
        with _translated():
            connection = await self._pool.take()
            try:
                records = await connection.fetch(statement.sql, *arguments)
            except BaseException as error:
                if isinstance(error, asyncpg.PostgresError) and not isinstance(error, _DOWN):
                    self._pool.give_back(connection)
                else:
                    self._pool.drop(connection)  # no telling what state it is in
                raise
            self._pool.give_back(connection)
        return statement.converted(cast("Sequence[Record]", records))

    fetch_long = fetch

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[PostgresTransaction]:
        transaction = PostgresTransaction(self._pool)
        try:
            yield transaction
        finally:
            await transaction.end()


class PostgresTransaction:
    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._connection: Connection | None = None

    async def fetch(self, clause: Clause, **values: Any) -> Sequence[Record]:
        statement = compiled(clause, DIALECT)
        arguments = statement.arguments(values)
        with _translated():
            if self._connection is None:
                self._connection = await self._begin()
            records = await self._connection.fetch(statement.sql, *arguments)
        return statement.converted(cast("Sequence[Record]", records))

    async def _begin(self) -> Connection:
        connection = await self._pool.take()
        try:
            await connection.execute("BEGIN")
        except BaseException:
            self._pool.drop(connection)  # it may have begun, or not
            raise
        return connection

    async def commit(self) -> None:
        if self._connection is None:
            return
        try:
            await self._connection.execute("COMMIT")
        except asyncpg.IntegrityConstraintViolationError as error:
            raise ConstraintViolated(error.constraint_name or "") from error
        except _DOWN as error:
            # The server may have made it last before the answer was lost.
            raise OutcomeUnknown from error

    async def end(self) -> None:
        """Undo what was not committed and give the connection back."""
        if self._connection is None:
            return
        connection, self._connection = self._connection, None
        try:
            if connection.is_in_transaction():
                await connection.execute("ROLLBACK")
        except BaseException as error:
            self._pool.drop(connection)
            if not isinstance(error, _DOWN):
                raise
        else:
            self._pool.give_back(connection)
