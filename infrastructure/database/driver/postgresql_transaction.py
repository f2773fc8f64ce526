"""Transactions on PostgreSQL: few round trips, and one time limit for the whole."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import asyncpg
from sqlalchemy import Insert, Select, bindparam, func, select
from sqlalchemy import cast as cast_to
from sqlalchemy.dialects.postgresql import REGCLASS

from application.outages import DatabaseUnavailable, SerializationFailure
from infrastructure.database.driver.connections import DIALECT, Connection
from infrastructure.database.driver.outages import Failures
from infrastructure.database.driver.pool import ConnectionPool, is_loss
from infrastructure.database.driver.rows import IDS
from infrastructure.database.driver.shared_changes import SharedChanges, confirmed
from infrastructure.database.driver.statements import INSERTED, Change, Clause, Record, compiled

_PLACEHOLDER = re.compile(r"\$(\d+)")

_MISSED = "the row has another version"
"""What the server says, and logs, of a guarded statement that found no row."""

# Should we be cut off in the middle, the server does not keep our locks until it finds out.
_BEGIN = "BEGIN; SET LOCAL idle_in_transaction_session_timeout = '5s'"


class _Deferred(NamedTuple):
    sql: str
    arguments: list[Any]
    guarded: bool
    key: int | None
    """Of the one row that it locks, 0 if it locks none; None: it may wait for others in any way."""
    then: str | None


class PostgresTransaction:
    """May take `timeout` seconds from its first statement to its commit. `new_id` gives an id of a
    table that nobody else gets; `shared` gives the changes that are made by an SQL statement.
    """

    def __init__(
        self,
        pool: ConnectionPool,
        failures: Failures,
        new_id: Callable[[str], Awaitable[int]],
        shared: Callable[[str], SharedChanges],
        timeout: float,
    ) -> None:
        self._pool = pool
        self._failures = failures
        self._new_id = new_id
        self._shared = shared
        self._timeout = timeout
        self._until: float | None = None
        self._connection: Connection | None = None
        self._unsent: list[_Deferred] = []
        self._adds = False

    @property
    def _deadline(self) -> float:
        """In the loop's time."""
        if self._until is None:
            self._until = asyncio.get_running_loop().time() + self._timeout
        return self._until

    async def fetch(self, clause: Clause, **values: Any) -> Sequence[Record]:
        statement = compiled(clause, DIALECT)
        arguments = statement.arguments(values)
        with self._failures:
            async with asyncio.timeout_at(self._deadline):
                connection = await self._begun()
                records = await connection.run(statement.sql, arguments)
        return statement.converted(records)

    async def add(self, clause: Insert, **values: Any) -> int:
        if self._connection is None:
            new_id = await self._new_id(clause.table.name)
        else:
            # Not by another connection: who holds one and waits for one more may wait for ever.
            ((_, new_id),) = await self.fetch(new_ids(clause.table.name), number=[0])
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
        statement = compiled(clause, DIALECT)
        # ON CONFLICT waits for whoever inserts the same.
        locks_one = guarded or (isinstance(clause, Insert) and "ON CONFLICT" not in statement.sql)
        key = values.get("id", 0) if locks_one else None
        following = None if then is None else compiled(then, DIALECT).sql
        arguments = statement.arguments(values)
        self._unsent.append(_Deferred(statement.sql, arguments, guarded, key, following))
        self._adds = True

    async def _begun(self) -> Connection:
        """The connection, with a transaction in which all has been done that was asked for."""
        if self._connection is None:
            self._connection = await self._begin()
        while self._unsent:
            deferred = self._unsent.pop(0)
            if deferred.then is None:
                rows = await self._connection.run(deferred.sql, deferred.arguments)
                if deferred.guarded and not rows:
                    raise SerializationFailure
            else:
                await self._connection.run(*_together([deferred]))
        return self._connection

    async def _begin(self) -> Connection:
        connection = await self._pool.take()
        try:
            await connection.execute(_BEGIN)
        except BaseException as error:
            self._pool.drop(connection, is_lost=is_loss(error))  # it may have begun, or not
            raise
        return connection

    async def commit(self) -> None:
        if self._connection is None and not self._unsent:
            return
        with self._failures:
            # The parts of one statement run in any order, so no two may be for the same table.
            if self._connection is None and _are_all_different(self._unsent):
                # Nothing was read: one statement, which is a transaction by itself.
                unsent, self._unsent = self._unsent, []
                await self._commit_alone(unsent)
            else:
                async with asyncio.timeout_at(self._deadline):
                    connection = await self._begun()
                await confirmed(connection.execute("COMMIT"), self._deadline)
        if self._adds and self._failures.writes.is_on:  # one without changes always works
            self._failures.writes.answered()

    async def _commit_alone(self, unsent: list[_Deferred]) -> None:
        sql, arguments = _together(unsent)
        keys = [statement.key for statement in unsent]
        try:
            if None in keys:
                async with asyncio.timeout_at(self._deadline):
                    connection = await self._pool.take()
                await confirmed(self._pool.run(connection, sql, arguments), self._deadline)
            else:
                await self._shared(sql)(keys[0] or 0, arguments, self._deadline)
        except asyncpg.InvalidTextRepresentationError as error:
            if _MISSED in str(error):
                raise SerializationFailure from error
            raise

    def drop(self) -> None:
        if self._connection is not None:
            self._pool.drop(self._connection, is_lost=True)
            self._connection = None

    async def end(self) -> None:
        """Undo what was not committed and give the connection back."""
        if self._connection is None:
            return
        connection, self._connection = self._connection, None
        if connection.is_closed() or asyncio.get_running_loop().time() >= self._deadline:
            # Nobody waits for a rollback: closing the connection is one.
            self._pool.drop(connection, is_lost=connection.is_closed())
            return
        try:
            if connection.is_in_transaction():
                with self._failures:
                    async with asyncio.timeout(self._timeout / 4):
                        await connection.execute("ROLLBACK")
        except BaseException as error:
            self._pool.drop(connection, is_lost=is_loss(error.__cause__ or error))
            if not isinstance(error, DatabaseUnavailable):
                raise
        else:
            self._pool.release(connection)


def _are_all_different(statements: list[_Deferred]) -> bool:
    return len({statement.sql for statement in statements}) == len(statements)


@cache
def new_ids(table: str) -> Select[Any]:
    """As many ids of `table` as there are numbers asked with, each beside its number."""
    numbers = func.unnest(bindparam("number", type_=IDS)).table_valued("number").render_derived()
    sequence = func.pg_get_serial_sequence(table, "id")
    return select(numbers.c.number, func.nextval(cast_to(sequence, REGCLASS)))


def _together(statements: list[_Deferred]) -> tuple[str, list[Any]]:
    """The statements as one, which happens as a whole or not at all."""
    sql = _joined(tuple((it.sql, len(it.arguments), it.guarded, it.then) for it in statements))
    return sql, [argument for it in statements for argument in it.arguments]


@cache
def _joined(statements: tuple[tuple[str, int, bool, str | None], ...]) -> str:
    """The SQL of statements, of which each has so many arguments, may be guarded and followed."""
    if len(statements) == 1 and not any(statements[0][2:]):
        return statements[0][0]
    parts: list[str] = []
    guards: list[str] = []
    before = 0
    for number, (sql, arguments, guarded, then) in enumerate(statements):
        name = f"s{number}" if then is None else INSERTED
        parts.append(f"{name} AS ({_shifted(sql, before)})")
        before += arguments
        if then is not None:
            parts.append(f"s{number} AS ({then})")
        if guarded:
            # An error, because it undoes all parts. It is no number.
            value = f"CASE WHEN EXISTS (SELECT FROM {name}) THEN '1' ELSE '{_MISSED}' END"
            guards.append(f"CAST({value} AS integer)")
    return f"WITH {', '.join(parts)} SELECT {', '.join(guards)}"


def _shifted(sql: str, by: int) -> str:
    """`sql` with all its placeholders counted from `by` + 1 on."""
    return _PLACEHOLDER.sub(lambda found: f"${int(found[1]) + by}", sql)
