"""Changes that share transactions: the write-side twin of `lookups`.

A change that finds few of its kind in flight is sent at once, in autocommit. Those that arrive when
there are more wait for one to end and then go out together: one transaction, one wait for the disk.
If the server refuses it, because of one of the changes or because a row is locked, each of them is
sent by itself. So a change has the same effects and errors as one that goes alone.

docs/decisions/0042-shared-changes.md has the measurements.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from contextvars import Context
from dataclasses import dataclass
from typing import Any

import asyncpg

from application.outages import DatabaseUnavailable, OutcomeUnknown
from infrastructure.database.driver.connections import DOWN, Connection, is_refusal
from infrastructure.database.driver.outages import Failures
from infrastructure.database.driver.pool import ConnectionPool, is_loss

IN_FLIGHT_MAX = 4
"""Of one statement. With fewer, four connections wrote at half of their rate."""
BATCH_MAX = 100

PATIENCE = 0.05
"""Seconds that a row which somebody else has locked may hold up changes of other rows."""

_BEGIN = (
    f"BEGIN; SET LOCAL lock_timeout = '{PATIENCE}s';"
    " SET LOCAL idle_in_transaction_session_timeout = '5s'"
)


@dataclass(slots=True, eq=False)
class _Change:
    key: int
    """Of the row that it locks. All transactions lock rows in the order of their keys."""
    arguments: Sequence[Any]
    outcome: asyncio.Future[bool]
    """Whether it was committed, together with others. False: it has to go alone."""


class SharedChanges:
    """Runs of one statement, `sql`, which changes at most one row that others change too."""

    def __init__(self, pool: ConnectionPool, failures: Failures, sql: str, timeout: float) -> None:
        self._pool = pool
        self._failures = failures
        self._sql = sql
        self._timeout = timeout
        self._in_flight = 0
        self._waiting: list[_Change] = []
        self._impatience: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, key: int, arguments: Sequence[Any], until: float) -> None:
        """Run the statement and commit it before `until`, in the loop's time.

        Raises `OutcomeUnknown` if it may have been committed, and the driver's errors.
        """
        if self._in_flight >= IN_FLIGHT_MAX:
            if not await self._with_others(key, arguments, until):
                await self._alone(arguments, until)
            return
        self._in_flight += 1
        try:
            await self._alone(arguments, until)
        finally:
            self._landed()

    async def _alone(self, arguments: Sequence[Any], until: float) -> None:
        async with asyncio.timeout_at(until):
            connection = await self._pool.take()
        await confirmed(self._pool.run(connection, self._sql, arguments), until)

    async def _with_others(self, key: int, arguments: Sequence[Any], until: float) -> bool:
        loop = asyncio.get_running_loop()
        change = _Change(key, arguments, loop.create_future())
        self._waiting.append(change)
        if self._impatience is None:
            self._impatience = loop.call_later(PATIENCE, self._send_waiting)
        try:
            async with asyncio.timeout_at(until):
                return await change.outcome
        except TimeoutError:
            if change in self._waiting:
                raise
            raise OutcomeUnknown from None

    def _landed(self) -> None:
        self._in_flight -= 1
        self._send_waiting()

    def _send_waiting(self) -> None:
        """Send the changes that waited for one in flight, without making that one wait."""
        if self._impatience is not None:
            self._impatience.cancel()
            self._impatience = None
        # An outcome that is there already is a cancellation: nobody waits for it.
        self._waiting = [change for change in self._waiting if not change.outcome.done()]
        if not self._waiting:
            return
        self._in_flight += 1
        batch, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
        # Not in the context of one request: it is work of many.
        task = asyncio.get_running_loop().create_task(self._send(batch), context=Context())
        self._tasks.add(task)  # the loop alone would not keep it alive
        task.add_done_callback(self._tasks.discard)

    async def _send(self, batch: list[_Change]) -> None:
        try:
            committed = await self._committed(batch)
        except Exception as error:  # noqa: BLE001  raised in every request that waits
            for change in batch:
                if not change.outcome.done():
                    change.outcome.set_exception(_own(error))
        else:
            for change in batch:
                if not change.outcome.done():
                    change.outcome.set_result(committed)
        finally:
            self._landed()

    async def _committed(self, batch: list[_Change]) -> bool:
        """Run and commit the batch. False: the server refused it, and nothing was changed."""
        if len(batch) == 1:
            return False
        until = asyncio.get_running_loop().time() + self._timeout
        rows = [change.arguments for change in sorted(batch, key=lambda change: change.key)]
        with self._failures:
            async with asyncio.timeout_at(until):
                connection = await self._pool.take()
            try:
                async with asyncio.timeout_at(until):
                    await connection.execute(_BEGIN)
                    await connection.run_many(self._sql, rows)
                await confirmed(connection.execute("COMMIT"), until)
            except BaseException as error:
                if is_refusal(error) and await self._undone(connection, until):
                    return False
                self._pool.drop(connection, is_lost=is_loss(error.__cause__ or error))
                raise
        self._pool.release(connection)
        return True

    async def _undone(self, connection: Connection, until: float) -> bool:
        """Whether the connection is well and can be used again after a refusal."""
        try:
            async with asyncio.timeout_at(until):
                if connection.is_in_transaction():
                    await connection.execute("ROLLBACK")
        except DOWN:
            return False
        self._pool.release(connection)
        return True


def _own(error: Exception) -> Exception:
    """An exception for each who waits: shared, it would gather all their tracebacks."""
    is_ours = isinstance(error, (DatabaseUnavailable, OutcomeUnknown))
    return type(error)() if is_ours else error


async def confirmed(commit: Awaitable[object], until: float) -> None:
    """Wait for what makes changes last. Raises `OutcomeUnknown` when that may have happened."""
    try:
        async with asyncio.timeout_at(until):
            await commit
    except asyncpg.StatementCompletionUnknownError as error:
        raise OutcomeUnknown from error  # so CockroachDB tells it
    except DOWN as error:
        if is_refusal(error):
            raise
        raise OutcomeUnknown from error
