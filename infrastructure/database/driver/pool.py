"""The pool of connections to PostgreSQL, and what becomes of a connection that failed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import asyncpg

from application.ports.adapter import Reading
from infrastructure.database.driver.addresses import postgres_address
from infrastructure.database.driver.breaker import Breaker
from infrastructure.database.driver.connections import DOWN, Connection, connect, is_refusal
from infrastructure.database.driver.statements import Record

_GOODBYE = 1.0
"""Seconds that the server has to let go of a connection."""


class ConnectionPool:
    """At most `size` connections, made when needed; the one used last is used first.

    asyncpg's own pool costs 35 microseconds a use, as much as a query: it makes a task of each
    release, and by default resets the connection by a query. Nothing here changes a connection's
    state, and transactions end before theirs is given back.

    No method bounds its time: callers put a timeout of at most `timeout` seconds around a call. One
    connection more is made for a moment where all are taken and none answers, as a probe.
    `failed` is called with the error of a probe.
    """

    def __init__(
        self, url: str, *, size: int, timeout: float, failed: Callable[[BaseException], None]
    ) -> None:
        self.size = size
        self.in_use = 0
        self.waiting = 0
        """Those that wait for a connection."""
        self._address = postgres_address(url)
        self._timeout = timeout
        self._breaker = Breaker(self._probe, failed)
        self._free = asyncio.Semaphore(size)
        self._idle: list[Connection] = []
        self._closing: set[asyncio.Task[None]] = set()
        self._answered_at = -1.0

    async def take(self) -> Connection:
        """A connection, for `release` or `drop`. Raises `DatabaseUnavailable` at once while it is
        known that the database is away.
        """
        if self._breaker.is_open:
            await self._breaker.admit()
        return await self._take()

    async def _take(self) -> Connection:
        if self._free.locked():
            self.waiting += 1
            try:
                await self._free.acquire()
            finally:
                self.waiting -= 1
        else:
            await self._free.acquire()
        self.in_use += 1
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        try:
            connection, host = await connect(self._address, within=self._timeout)
        except BaseException:
            self._leave()
            raise
        # The one that took us is asked first from now on.
        hosts = sorted(self._address.hosts, key=lambda candidate: candidate != host)
        self._address = replace(self._address, hosts=tuple(hosts))
        return connection

    async def fetch(self, sql: str, arguments: Sequence[Any]) -> Sequence[Record]:
        """Run one statement by itself."""
        return await self.run(await self.take(), sql, arguments)

    async def run(
        self, connection: Connection, sql: str, arguments: Sequence[Any]
    ) -> Sequence[Record]:
        """As `fetch`, on a connection that was taken and is given back."""
        try:
            records = await connection.run(sql, arguments)
        except BaseException as error:
            if is_refusal(error) and not isinstance(error, asyncpg.ReadOnlySQLTransactionError):
                self.release(connection)
            else:
                self.drop(connection, is_lost=is_loss(error))  # no telling what state it is in
            raise
        self.release(connection)
        return records

    def release(self, connection: Connection) -> None:
        self._answered_at = asyncio.get_running_loop().time()
        if self._breaker.is_open:
            self._breaker.reset()
        self._idle.append(connection)
        self._leave()

    def drop(self, connection: Connection, *, is_lost: bool) -> None:
        """Close it. Where it is lost, so may be those that lie idle, and each would cost somebody a
        timeout: they are closed too.
        """
        if is_lost:
            self._close_idle()
        closing = asyncio.get_running_loop().create_task(self._close(connection))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    def suspect(self, error: BaseException) -> bool:
        """Whether `error` may mean that the database is away; then calls fail until a probe says
        otherwise.

        A timeout means so only when nothing was answered on any connection in its last quarter.
        """
        silent_for = asyncio.get_running_loop().time() - self._answered_at
        if isinstance(error, asyncpg.QueryCanceledError):
            return False
        if not is_loss(error) and silent_for < self._timeout / 4:
            return False
        self._breaker.trip()
        return True

    async def _probe(self) -> None:
        """Ask a connection that lies idle, or else a new one. Raises what is wrong."""
        if self._idle:
            idle = self._idle.pop()
            try:
                await self._ping(idle)
            except BaseException as error:
                idle.terminate()
                self._close_idle()
                if not isinstance(error, DOWN):
                    raise
            else:
                self._idle.append(idle)
                return
        # Beside the pool: all its places may be taken by statements that wait for each other.
        connection, _ = await connect(self._address, within=self._timeout / 2)
        try:
            await self._ping(connection)
        finally:
            connection.terminate()

    async def _ping(self, connection: Connection) -> None:
        async with asyncio.timeout(self._timeout / 2):
            await connection.execute("SELECT 1")

    async def _close(self, connection: Connection) -> None:
        """Hold the connection's place until the server has closed it as well: asyncpg's request to
        cancel the abandoned statement may still be under way.
        """
        try:
            await connection.close(timeout=_GOODBYE)
        except Exception:  # noqa: BLE001  it is given up anyway
            connection.terminate()
        finally:
            self._leave()

    def _leave(self) -> None:
        self.in_use -= 1
        self._free.release()

    def _close_idle(self) -> None:
        for connection in self._idle:
            connection.terminate()
        self._idle.clear()

    async def close(self) -> None:
        self._breaker.reset()
        self._close_idle()
        if self._closing:
            await asyncio.wait(self._closing)

    def readings(self) -> Sequence[Reading]:
        return tuple(
            Reading("gauge", f"gatepost_database_connections_{name}", text, read)
            for name, text, read in (
                ("max", "Connections that there may be", lambda: self.size),
                ("in_use", "Connections that are at work", lambda: self.in_use),
                ("waiting", "Requests that wait for a connection", lambda: self.waiting),
            )
        )


def is_loss(error: BaseException) -> bool:
    """Whether a call that ended with `error` lost its connection, instead of taking too long."""
    return not isinstance(error, (asyncio.CancelledError, TimeoutError))
