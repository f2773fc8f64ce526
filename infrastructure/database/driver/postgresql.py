"""PostgreSQL, on asyncpg and its pool."""

from __future__ import annotations

import math
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import cache
from itertools import count
from typing import TYPE_CHECKING, Any

import asyncpg
from sqlalchemy import Boolean, Dialect, Insert, Select, Update, bindparam, func, select
from sqlalchemy import cast as cast_to
from sqlalchemy.dialects.postgresql import REGCLASS
from sqlalchemy.dialects.postgresql import asyncpg as sqlalchemy_asyncpg

from application.ports.adapter import Reading
from application.ports.storage import SerializationFailure
from application.retries import retried
from infrastructure.database.driver.connections import DOWN, ConnectionPool, is_refusal
from infrastructure.database.driver.lookups import BATCHES, SharedLookup
from infrastructure.database.driver.rows import IDS
from infrastructure.database.driver.statements import (
    Clause,
    ConstraintViolated,
    Database,
    DatabaseUnavailable,
    OutcomeUnknown,
    Record,
    SchemaMissing,
    TakesNoChanges,
    compiled,
)
from infrastructure.database.driver.time_budget import Deadline, TimeBudget

DIALECT = sqlalchemy_asyncpg.dialect()  # type: ignore[no-untyped-call]

_PLACEHOLDER = re.compile(r"\$(\d+)")

# Should we be cut off in the middle, the server does not keep our locks until it finds out.
_BEGIN = "BEGIN; SET LOCAL idle_in_transaction_session_timeout = '5s'"

_IS_STANDBY = select(func.pg_is_in_recovery(type_=Boolean))

if TYPE_CHECKING:
    from infrastructure.database.driver.connections import Connection


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


async def _sent(commit: Awaitable[object]) -> None:
    """Wait for what makes changes last. Raises `OutcomeUnknown` when that may have happened."""
    try:
        await commit
    except asyncpg.StatementCompletionUnknownError as error:
        raise OutcomeUnknown from error  # so CockroachDB tells it
    except DOWN as error:
        if is_refusal(error):
            raise
        raise OutcomeUnknown from error


class PostgresDatabase(Database):
    """At most `size` connections, made when needed. Whoever waits longer than `timeout` seconds,
    for a connection or for an answer and in all turns of a request together, is told that the
    database is unavailable; the log calls it by its `name`.
    """

    dialect: Dialect = DIALECT
    is_remote = True

    def __init__(
        self, url: str, *, size: int = 5, timeout: float = 2.0, name: str = "the database"
    ) -> None:
        self.pool = ConnectionPool(url, size=size)
        self._patience = TimeBudget(timeout, _mapping_errors, name)
        self._ids: dict[str, SharedLookup] = {}
        self._number = count()
        self.turn = self._patience.turn

    async def open(self) -> None:
        """Nothing to do: the first request connects."""

    async def close(self) -> None:
        await self.pool.close()

    def readings(self) -> Sequence[Reading]:
        return (*BATCHES.readings(), *self.pool.readings())

    async def fetch(self, clause: Clause, **values: Any) -> Sequence[Record]:
        statement = compiled(clause, DIALECT)
        arguments = statement.arguments(values)
        try:
            records = await self._fetch(statement.sql, arguments)
        except SerializationFailure:
            records = await self._fetch_again(statement.sql, arguments)
        return statement.converted(records)

    fetch_long = fetch

    async def fetch_shared(self, clause: Clause, **values: Any) -> Sequence[Record]:
        statement = compiled(clause, DIALECT)
        arguments, most = statement.arguments(values), self._patience.timeout / 2
        try:
            records = await self._fetch(statement.sql, arguments, most)
        except SerializationFailure:
            records = await self._fetch_again(statement.sql, arguments, most)
        return statement.converted(records)

    async def _fetch(
        self, sql: str, arguments: Sequence[Any], most: float = math.inf
    ) -> Sequence[Record]:
        with self.turn(most) as turn:
            return await self.pool.fetch(sql, arguments, turn)

    _fetch_again = retried(_fetch)

    async def check(self) -> None:
        ((is_standby,),) = await self.fetch(_IS_STANDBY)
        if is_standby:
            raise TakesNoChanges

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
        transaction = PostgresTransaction(self.pool, self._patience, self._new_id)
        try:
            yield transaction
        except TakesNoChanges:
            transaction.drop()  # the next connection may be to a server that does
            raise
        finally:
            await transaction.end()


class PostgresTransaction:
    """`new_id` gives an id of a table that nobody else gets."""

    def __init__(
        self,
        pool: ConnectionPool,
        patience: TimeBudget,
        new_id: Callable[[str], Awaitable[int]],
    ) -> None:
        self._pool = pool
        self._patience = patience
        self._new_id = new_id
        self._connection: Connection | None = None
        self._unsent: list[tuple[str, list[Any]]] = []
        self._adds = False

    async def fetch(self, clause: Clause, **values: Any) -> Sequence[Record]:
        statement = compiled(clause, DIALECT)
        arguments = statement.arguments(values)
        with self._patience.turn() as turn:
            connection = await self._begun(turn)
            records = await connection.run(statement.sql, arguments, turn.left)
        return statement.converted(records)

    async def add(self, clause: Insert, **values: Any) -> int:
        if self._connection is None:
            new_id = await self._new_id(clause.table.name)
        else:
            # Not by another connection: who holds one and waits for one more may wait for ever.
            ((_, new_id),) = await self.fetch(_new_ids(clause.table.name), number=[0])
        self.defer(clause, id=new_id, **values)
        return new_id

    def defer(self, clause: Insert | Update, **values: Any) -> None:
        statement = compiled(clause, DIALECT)
        self._unsent.append((statement.sql, statement.arguments(values)))
        self._adds = True

    async def _begun(self, turn: Deadline) -> Connection:
        """The connection, with a transaction in which all has been done that was asked for."""
        if self._connection is None:
            self._connection = await self._begin(turn)
        while self._unsent:
            sql, arguments = self._unsent.pop(0)
            await self._connection.run(sql, arguments, turn.left)
        return self._connection

    async def _begin(self, turn: Deadline) -> Connection:
        connection = await self._pool.take(turn)
        try:
            await connection.execute(_BEGIN, timeout=turn.left)
        except BaseException:
            self._pool.drop(connection)  # it may have begun, or not
            raise
        return connection

    async def commit(self) -> None:
        if self._connection is None and not self._unsent:
            return
        with self._patience.turn() as turn:
            # The parts of one statement run in any order, so no two may be for the same table.
            if self._connection is None and _are_all_different(self._unsent):
                # Only rows to insert: one statement, which is a transaction by itself.
                unsent, self._unsent = self._unsent, []
                connection = await self._pool.take(turn)
                await _sent(self._pool.run(connection, *_together(unsent), turn))
            else:
                connection = await self._begun(turn)
                await _sent(connection.execute("COMMIT", timeout=turn.left))
        if self._adds and self._patience.writes.is_on:  # one without changes always works
            self._patience.writes.answered()

    def drop(self) -> None:
        if self._connection is not None:
            self._pool.drop(self._connection)
            self._connection = None

    async def end(self) -> None:
        """Undo what was not committed and give the connection back."""
        if self._connection is None:
            return
        connection, self._connection = self._connection, None
        if connection.is_closed():
            self._pool.drop(connection)
            return
        try:
            if connection.is_in_transaction():
                with self._patience.turn() as turn:
                    await connection.execute("ROLLBACK", timeout=turn.left)
        except BaseException as error:
            self._pool.drop(connection)
            if not isinstance(error, DatabaseUnavailable):
                raise
        else:
            self._pool.release(connection)


def _are_all_different(statements: list[tuple[str, list[Any]]]) -> bool:
    return len({sql for sql, _ in statements}) == len(statements)


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
