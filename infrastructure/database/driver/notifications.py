"""Notifications of PostgreSQL (LISTEN), on a connection of their own beside the pool."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from infrastructure.database.driver.addresses import PostgresAddress
from infrastructure.database.driver.connections import DOWN, connect

LISTENERS = 1
"""Connections of a process that listens, beside those of its pool."""

_PAUSE = 10.0
"""Seconds between two attempts to connect."""


async def listen(
    address: PostgresAddress, channel: str, heard: Callable[[], None], *, within: float
) -> NoReturn:
    """Call `heard` for each notification, until cancelled. Connects again when the connection is
    lost; notifications that come meanwhile are missed. `within`: seconds for connecting.
    """
    while True:
        with suppress(*DOWN):  # the pool logs the outage
            await _listen(address, channel, heard, within)
        await asyncio.sleep(_PAUSE)


async def _listen(
    address: PostgresAddress, channel: str, heard: Callable[[], None], within: float
) -> None:
    connection, _ = await connect(address, within=within)
    lost = asyncio.Event()
    connection.add_termination_listener(lambda _: lost.set())
    try:
        await connection.add_listener(channel, lambda *_: heard())
        await lost.wait()
    finally:
        connection.terminate()
