"""Work that is done again when the database could not bring it into one order with others.

That may happen to every transaction where they are serializable or where the database is spread
over machines, and anywhere to two that wait for each other's locks. Nothing was done then, and the
same may well succeed a moment later.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from application.outages import SerializationFailure

T = TypeVar("T")

PAUSES = (0.01, 0.04, 0.16)
"""Maximum seconds before the second, third and fourth attempt."""


async def retrying(work: Callable[[], Awaitable[T]]) -> T:
    """Do `work` again from its beginning when it raises `SerializationFailure`: four times in all,
    after random pauses of up to `PAUSES`. The last failure is raised.
    """
    for pause in PAUSES:
        try:
            return await work()
        except SerializationFailure:
            # Random, because two that met once would meet again.
            await asyncio.sleep(random.uniform(0, pause))  # noqa: S311  no secret
    return await work()
