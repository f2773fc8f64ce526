"""Retries of use cases after serialization failures and deadlocks.

A database with serializable transactions, or a distributed one, may refuse any transaction because
of concurrent ones; every database refuses one of two that deadlock. Nothing was changed then, and a
retry usually succeeds.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from application.ports.storage import SerializationFailure

P = ParamSpec("P")
T = TypeVar("T")

PAUSES = (0.01, 0.04, 0.16)
"""Maximum pause before the second, third and fourth attempt, in seconds."""


def retried(use_case: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Run `use_case` again when it raises `SerializationFailure`, up to four times in total.

    Waits a random time of up to `PAUSES` between attempts, and raises the last failure. `use_case`
    must open one unit of work and commit last. Work that must not be repeated (counting towards a
    limit) or is expensive (hashing a password) belongs in the caller.
    """

    @wraps(use_case)
    async def run(*args: P.args, **kwargs: P.kwargs) -> T:
        for pause in PAUSES:
            try:
                return await use_case(*args, **kwargs)
            except SerializationFailure:
                # Random, so that two transactions that collided do not collide again.
                await asyncio.sleep(random.uniform(0, pause))  # noqa: S311  no secret
        return await use_case(*args, **kwargs)

    return run
