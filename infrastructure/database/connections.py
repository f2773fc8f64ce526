"""Connections to PostgreSQL, on asyncpg, and a pool of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg

from infrastructure.database.statements import Record

_CACHE_SIZE = "statement_cache_size"

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

    async def run(self, sql: str, arguments: Sequence[Any]) -> Sequence[Record]:
        statement = self._prepared.get(sql)
        if statement is None:
            statement = self._prepared[sql] = await self.prepare(sql)
        try:
            records = await statement.fetch(*arguments)
        except asyncpg.InvalidCachedStatementError:  # the schema has changed
            del self._prepared[sql]
            if self.is_in_transaction():
                raise
            return await self.run(sql, arguments)
        return cast("Sequence[Record]", records)


class _Forgetful(Connection):
    """Keeps none."""

    async def run(self, sql: str, arguments: Sequence[Any]) -> Sequence[Record]:
        return cast("Sequence[Record]", await self.fetch(sql, *arguments))


async def connect(url: str, **options: Any) -> Connection:
    """asyncpg's `connect`, for a URL that may have its `statement_cache_size` in the query.

    0 is for pgbouncer in transaction mode: each statement may meet another server, which knows none
    of those that were prepared.
    """
    url, size = split_cache_size(url)
    kind = Connection if size else _Forgetful
    return await asyncpg.connect(url, statement_cache_size=size, connection_class=kind, **options)


def split_cache_size(url: str) -> tuple[str, int]:
    """`url` without its `statement_cache_size`, which asyncpg would send to the server; the size.

    Raises ValueError for one that is no number.
    """
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    sizes = [value for name, value in query if name == _CACHE_SIZE]
    if not sizes:
        return url, 100
    if not sizes[-1].isdecimal():
        raise ValueError(f"{_CACHE_SIZE} must be a number")
    rest = urlencode([pair for pair in query if pair[0] != _CACHE_SIZE])
    return urlunsplit(parts._replace(query=rest)), int(sizes[-1])


class ConnectionPool:
    """Connections, the one used last first.

    asyncpg's own pool costs 35 microseconds a use, as much as a query: it makes a task of each
    release, and by default resets the connection by a query. Nothing here changes a connection's
    state, and transactions end before theirs is given back.
    """

    def __init__(self, url: str, *, size: int, timeout: float) -> None:
        self.size = size
        self.in_use = 0
        self.waiting = 0
        """Those that wait for a connection."""
        self._url = url
        self._timeout = timeout
        self._free = asyncio.Semaphore(size)
        self._idle: list[Connection] = []

    async def take(self) -> Connection:
        if self._free.locked():
            self.waiting += 1
            try:
                async with asyncio.timeout(self._timeout):
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
            return await connect(self._url, timeout=self._timeout, command_timeout=self._timeout)
        except BaseException:
            self._release()
            raise

    async def fetch(self, sql: str, arguments: Sequence[Any]) -> Sequence[Record]:
        """Run one statement by itself."""
        connection = await self.take()
        try:
            records = await connection.run(sql, arguments)
        except asyncpg.PostgresError:
            self.give_back(connection)
            raise
        except BaseException:
            self.drop(connection)  # no telling what state it is in
            raise
        self.give_back(connection)
        return records

    def give_back(self, connection: Connection) -> None:
        self._idle.append(connection)
        self._release()

    def drop(self, connection: Connection) -> None:
        connection.terminate()
        self._release()

    def _release(self) -> None:
        self.in_use -= 1
        self._free.release()

    def close(self) -> None:
        for connection in self._idle:
            connection.terminate()
        self._idle.clear()
