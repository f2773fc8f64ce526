"""Connections to PostgreSQL: which host, how many, and what becomes of one that failed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

import asyncpg

from application.ports.adapter import Reading
from infrastructure.database.driver.addresses import PostgresAddress, postgres_address
from infrastructure.database.driver.statements import Record
from infrastructure.database.driver.time_budget import Deadline

_GOODBYE = 1.0
"""Seconds that the server has to let go of a connection."""

DOWN = (
    OSError,  # TimeoutError among them
    asyncpg.PostgresConnectionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.InvalidCachedStatementError,
)


if TYPE_CHECKING:
    _Asyncpgs = asyncpg.Connection[asyncpg.Record]
    _Statement = asyncpg.prepared_stmt.PreparedStatement[asyncpg.Record]
else:
    _Asyncpgs = asyncpg.Connection


class Connection(_Asyncpgs):
    """Keeps the statements that it has prepared.

    asyncpg's way to its own cache of them is a fifth of what a read by key costs alone.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._prepared: dict[str, _Statement] = {}

    async def run(self, sql: str, arguments: Sequence[Any], within: float) -> Sequence[Record]:
        statement = self._prepared.get(sql)
        if statement is None:
            statement = self._prepared[sql] = await self.prepare(sql, timeout=within)
        try:
            records = await statement.fetch(*arguments, timeout=within)
        except asyncpg.InvalidCachedStatementError:  # the schema has changed
            del self._prepared[sql]
            if self.is_in_transaction():
                raise
            return await self.run(sql, arguments, within)
        return cast("Sequence[Record]", records)


class _Forgetful(Connection):
    """Keeps none."""

    async def run(self, sql: str, arguments: Sequence[Any], within: float) -> Sequence[Record]:
        return cast("Sequence[Record]", await self.fetch(sql, *arguments, timeout=within))


def is_refusal(error: BaseException) -> bool:
    """Whether the server said that it did not do it, as opposed to saying nothing more."""
    return isinstance(error, asyncpg.QueryCanceledError) or (
        isinstance(error, asyncpg.PostgresError)
        and not isinstance(
            error, (asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError)
        )
    )


class NotAccepted(ConnectionError):
    """The server does not take a connection with these options."""


async def connect(address: PostgresAddress, *, within: float) -> tuple[Connection, str]:
    """A connection to the first of the hosts that takes us, and that host; in seconds.

    asyncpg itself would give all the time to the first that does not answer.
    """
    until = monotonic() + min(within, address.connect_timeout or within)
    for untried, host in zip(range(len(address.hosts), 0, -1), address.hosts, strict=True):
        share = (until - monotonic()) / untried
        try:
            return await _connect(host, address.statement_cache_size, share), host
        except DOWN:
            if untried == 1:
                raise
    raise ValueError("no host")


async def _connect(host: str, statement_cache_size: int, within: float) -> Connection:
    kind = Connection if statement_cache_size else _Forgetful
    try:
        return await asyncpg.connect(
            host, timeout=within, statement_cache_size=statement_cache_size, connection_class=kind
        )
    except ConnectionError as error:
        if "rejected SSL upgrade" in str(error):
            raise NotAccepted("the server takes no TLS, which sslmode asks for") from error
        raise
    except asyncpg.UndefinedObjectError as error:  # such as of a setting in `options`
        raise NotAccepted(f"options: {error}") from error


class ConnectionPool:
    """Connections, the one used last first.

    asyncpg's own pool costs 35 microseconds a use, as much as a query: it makes a task of each
    release, and by default resets the connection by a query. Nothing here changes a connection's
    state, and transactions end before theirs is given back.
    """

    def __init__(self, url: str, *, size: int) -> None:
        self.size = size
        self.in_use = 0
        self.waiting = 0
        """Those that wait for a connection."""
        self._address = postgres_address(url)
        self._free = asyncio.Semaphore(size)
        self._idle: list[Connection] = []
        self._closing: set[asyncio.Task[None]] = set()

    async def take(self, turn: Deadline) -> Connection:
        if self._free.locked():
            self.waiting += 1
            try:
                async with asyncio.timeout(turn.left):
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
            connection, host = await connect(self._address, within=turn.left)
        except BaseException:
            self._release()
            raise
        # The one that took us is asked first from now on.
        hosts = sorted(self._address.hosts, key=lambda known: known != host)
        self._address = replace(self._address, hosts=tuple(hosts))
        return connection

    async def fetch(self, sql: str, arguments: Sequence[Any], turn: Deadline) -> Sequence[Record]:
        """Run one statement by itself."""
        return await self.run(await self.take(turn), sql, arguments, turn)

    async def run(
        self, connection: Connection, sql: str, arguments: Sequence[Any], turn: Deadline
    ) -> Sequence[Record]:
        """As `fetch`, on a connection that was taken and is given back."""
        try:
            records = await connection.run(sql, arguments, turn.left)
        except BaseException as error:
            if is_refusal(error) and not isinstance(error, asyncpg.ReadOnlySQLTransactionError):
                self.release(connection)
            else:
                self.drop(connection)  # no telling what state it is in
            raise
        self.release(connection)
        return records

    def release(self, connection: Connection) -> None:
        self._idle.append(connection)
        self._release()

    def drop(self, connection: Connection) -> None:
        """Close it, and those that lie idle: what befell one may have befallen them all, and each
        would cost somebody their patience.
        """
        self._close_idle()
        closing = asyncio.get_running_loop().create_task(self._close(connection))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def _close(self, connection: Connection) -> None:
        """Its place is taken until the server lets go of it as well: asyncpg has asked it to cancel
        a statement that nobody waits for any more, which ending the connection would not do.
        """
        try:
            await connection.close(timeout=_GOODBYE)
        except Exception:  # noqa: BLE001  it is given up anyway
            connection.terminate()
        finally:
            self._release()

    def _release(self) -> None:
        self.in_use -= 1
        self._free.release()

    def _close_idle(self) -> None:
        for connection in self._idle:
            connection.terminate()
        self._idle.clear()

    async def close(self) -> None:
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
