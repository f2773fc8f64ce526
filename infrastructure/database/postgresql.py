"""PostgreSQL, on asyncpg and its pool."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, cast

import asyncpg
from asyncpg.pool import PoolConnectionProxy
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
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)


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


async def _leave_as_it_is(connection: object) -> None:
    """In place of asyncpg's reset, a round trip a release: nothing here changes a connection's
    state, and every transaction has ended before its connection is given back.
    """


class PostgresDatabase:
    """At most `size` connections, taken when needed. Whoever waits longer than `timeout` seconds,
    for a connection or for an answer, is told that the database is unavailable.
    """

    dialect: Dialect = DIALECT
    is_remote = True

    def __init__(self, url: str, *, size: int, timeout: float) -> None:
        self._timeout = timeout
        self._pool = asyncpg.create_pool(
            url,
            min_size=0,
            max_size=size,
            timeout=timeout,
            command_timeout=timeout,
            reset=_leave_as_it_is,
        )

    async def open(self) -> None:
        with _translated():
            await self._pool

    async def close(self) -> None:
        self._pool.terminate()

    async def fetch(self, clause: Clause, **values: Any) -> Sequence[Record]:
        statement = compiled(clause, DIALECT)
        with _translated():
            async with self._pool.acquire(timeout=self._timeout) as connection:
                rows = await connection.fetch(statement.sql, *statement.arguments(values))
        return statement.converted(cast("Sequence[Record]", rows))

    fetch_long = fetch

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[PostgresTransaction]:
        transaction = PostgresTransaction(self._pool, self._timeout)
        try:
            yield transaction
        finally:
            await transaction.end()


class PostgresTransaction:
    def __init__(self, pool: asyncpg.Pool[asyncpg.Record], timeout: float) -> None:
        self._pool = pool
        self._timeout = timeout
        self._connection: PoolConnectionProxy[asyncpg.Record] | None = None

    async def fetch(self, clause: Clause, **values: Any) -> Sequence[Record]:
        statement = compiled(clause, DIALECT)
        with _translated():
            if self._connection is None:
                self._connection = await self._pool.acquire(timeout=self._timeout)
                await self._connection.execute("BEGIN")
            rows = await self._connection.fetch(statement.sql, *statement.arguments(values))
        return statement.converted(cast("Sequence[Record]", rows))

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
        except _DOWN:
            connection.terminate()
        finally:
            await self._pool.release(connection)
