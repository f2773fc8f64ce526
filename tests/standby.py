"""A streaming standby, and how far it has got."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import asyncpg

from tests.postgres import PostgresServer, running_postgres

TIME_BUDGET = 20.0
"""Seconds for any one thing to happen, on a busy machine."""


@dataclass(frozen=True)
class Standby:
    primary: PostgresServer
    server: PostgresServer

    async def catch_up(self) -> None:
        """Wait until it has all that the primary has."""
        async with connected(self.primary) as primary:
            position = await primary.fetchval("SELECT pg_current_wal_flush_lsn()::text")
        async with asyncio.timeout(TIME_BUDGET):
            while not await self._ask(f"pg_last_wal_replay_lsn() >= '{position}'"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """It is as it is now for as long as the block lasts."""
        await self.catch_up()
        await self._ask("pg_wal_replay_pause()")
        async with asyncio.timeout(TIME_BUDGET):
            while not await self._ask("pg_get_wal_replay_pause_state() = 'paused'"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        try:
            yield
        finally:
            await self.resume()

    async def resume(self) -> None:
        """Go on, and catch up. Nothing happens when it is not paused."""
        await self._ask("pg_wal_replay_resume()")
        await self.catch_up()

    async def _ask(self, expression: str) -> object:
        async with connected(self.server) as connection:
            return await connection.fetchval(f"SELECT {expression}")


@contextmanager
def running_standby(primary: PostgresServer) -> Iterator[Standby]:
    with running_postgres(primary=primary) as server:
        yield Standby(primary, server)


@asynccontextmanager
async def connected(
    server: PostgresServer, database: str = "postgres"
) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(server.url(database))
    try:
        yield connection
    finally:
        await connection.close()
