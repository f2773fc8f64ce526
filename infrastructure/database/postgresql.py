"""PostgreSQL, on asyncpg and its pool."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from itertools import count
from typing import TYPE_CHECKING, Any, cast

import asyncpg
from sqlalchemy import Dialect, Insert, Select, Update, bindparam, func, select
from sqlalchemy import cast as cast_to
from sqlalchemy.dialects.postgresql import REGCLASS
from sqlalchemy.dialects.postgresql import asyncpg as sqlalchemy_asyncpg

from application.ports.storage import SerializationFailure
from application.retries import retried
from infrastructure.database.lookups import SharedLookup
from infrastructure.database.rows import IDS
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

_PLACEHOLDER = re.compile(r"\$(\d+)")

_NOT_IN_ORDER = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
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
    asyncpg.TransactionRollbackError,  # its other kinds; CockroachDB has one for unknown outcomes
)

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except asyncpg.IntegrityConstraintViolationError as error:
        raise ConstraintViolated(error.constraint_name or "") from error
    except _NOT_IN_ORDER as error:
        raise SerializationFailure from error
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

    async def fetch(self, sql: str, arguments: Sequence[Any]) -> Sequence[Record]:
        """Run one statement by itself."""
        connection = await self.take()
        try:
            records = await connection.fetch(sql, *arguments)
        except asyncpg.PostgresError:
            self.give_back(connection)
            raise
        except BaseException:
            self.drop(connection)  # no telling what state it is in
            raise
        self.give_back(connection)
        return cast("Sequence[Record]", records)

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
        self._ids: dict[str, SharedLookup] = {}
        self._number = count()

    async def open(self) -> None:
        """Nothing to do: the first request connects."""

    async def close(self) -> None:
        self._pool.close()

    async def fetch(self, clause: Clause, **values: Any) -> Sequence[Record]:
        statement = compiled(clause, DIALECT)
        try:
            with _translated():
                records = await self._pool.fetch(statement.sql, statement.arguments(values))
        except SerializationFailure:
            records = await self._fetch_again(statement.sql, statement.arguments(values))
        return statement.converted(records)

    fetch_long = fetch

    @retried
    async def _fetch_again(self, sql: str, arguments: Sequence[Any]) -> Sequence[Record]:
        with _translated():
            return await self._pool.fetch(sql, arguments)

    async def _new_id(self, table: str) -> int:
        """From the table's sequence; those who ask at the same time share the round trip."""
        ids = self._ids.get(table)
        if ids is None:
            ids = self._ids[table] = SharedLookup(self, _new_ids(table), ["number"])
        record = await ids(next(self._number))
        assert record is not None  # noqa: S101  a record for each number
        new_id: int = record[0]
        return new_id

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[PostgresTransaction]:
        transaction = PostgresTransaction(self._pool, self._new_id)
        try:
            yield transaction
        finally:
            await transaction.end()


class PostgresTransaction:
    """`new_id` gives an id of a table that nobody else gets."""

    def __init__(self, pool: ConnectionPool, new_id: Callable[[str], Awaitable[int]]) -> None:
        self._pool = pool
        self._new_id = new_id
        self._connection: Connection | None = None
        self._unsent: list[tuple[str, list[Any]]] = []

    async def fetch(self, clause: Clause, **values: Any) -> Sequence[Record]:
        statement = compiled(clause, DIALECT)
        arguments = statement.arguments(values)
        with _translated():
            connection = await self._begun()
            records = await connection.fetch(statement.sql, *arguments)
        return statement.converted(cast("Sequence[Record]", records))

    async def add(self, clause: Insert, **values: Any) -> int:
        if self._connection is None:
            new_id = await self._new_id(clause.table.name)
        else:
            # Not by another connection: who holds one and waits for one more may wait for ever.
            ((_, new_id),) = await self.fetch(_new_ids(clause.table.name), number=[0])
        self.add_later(clause, id=new_id, **values)
        return new_id

    def add_later(self, clause: Insert | Update, **values: Any) -> None:
        statement = compiled(clause, DIALECT)
        self._unsent.append((statement.sql, statement.arguments(values)))

    async def _begun(self) -> Connection:
        """The connection, with a transaction in which all has been done that was asked for."""
        if self._connection is None:
            self._connection = await self._begin()
        while self._unsent:
            sql, arguments = self._unsent.pop(0)
            await self._connection.execute(sql, *arguments)
        return self._connection

    async def _begin(self) -> Connection:
        connection = await self._pool.take()
        try:
            await connection.execute("BEGIN")
        except BaseException:
            self._pool.drop(connection)  # it may have begun, or not
            raise
        return connection

    async def commit(self) -> None:
        if self._connection is None and not self._unsent:
            return
        try:
            await self._commit()
        except asyncpg.IntegrityConstraintViolationError as error:
            raise ConstraintViolated(error.constraint_name or "") from error
        except _NOT_IN_ORDER as error:
            raise SerializationFailure from error
        except _DOWN as error:
            # The server may have made it last before the answer was lost.
            raise OutcomeUnknown from error

    async def _commit(self) -> None:
        # The parts of one statement run in any order, so no two may be for the same table.
        if self._connection is None and len({sql for sql, _ in self._unsent}) == len(self._unsent):
            # Only rows to insert: one statement, which is a transaction by itself.
            unsent, self._unsent = self._unsent, []
            await self._pool.fetch(*_together(unsent))
        else:
            connection = await self._begun()
            await connection.execute("COMMIT")

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


@cache
def _new_ids(table: str) -> Select[Any]:
    """As many ids of `table` as there are numbers asked with, each beside its number."""
    numbers = func.unnest(bindparam("number", type_=IDS)).table_valued("number").render_derived()
    sequence = func.pg_get_serial_sequence(table, "id")
    return select(numbers.c.number, func.nextval(cast_to(sequence, REGCLASS)))


def _together(statements: list[tuple[str, list[Any]]]) -> tuple[str, list[Any]]:
    """The statements as one, which happens as a whole or not at all."""
    if len(statements) == 1:
        return statements[0]
    parts: list[str] = []
    arguments: list[Any] = []
    for sql, own in statements:
        parts.append(f"s{len(parts)} AS ({_shifted(sql, len(arguments))})")
        arguments += own
    return f"WITH {', '.join(parts)} SELECT", arguments


@cache
def _shifted(sql: str, by: int) -> str:
    """`sql` with all its placeholders counted from `by` + 1 on."""
    return _PLACEHOLDER.sub(lambda found: f"${int(found[1]) + by}", sql)
