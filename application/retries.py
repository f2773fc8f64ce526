"""Use cases that are run again when the database could not bring them into one order with others.

That may happen to every transaction where they are serializable or where the database is spread
over machines, and anywhere to two that wait for each other crosswise. Nothing was done then, and
the same may well succeed a moment later.
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
"""Seconds before the second, third and fourth attempt, at the most."""


def retried(use_case: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Run `use_case` again from its beginning when it raises `SerializationFailure`: four times in
    all, after random pauses of up to `PAUSES`. The last failure is raised.

    For what opens one unit of work, and does nothing after its commit that could fail like this.
    What must not be done twice (counting towards a limit) or costs much (hashing a password)
    belongs before it, in the caller.
    """

    @wraps(use_case)
    async def run(*args: P.args, **kwargs: P.kwargs) -> T:
        for pause in PAUSES:
            try:
                return await use_case(*args, **kwargs)
            except SerializationFailure:
                # Random, because two that met once would meet again.
                await asyncio.sleep(random.uniform(0, pause))  # noqa: S311  no secret
        return await use_case(*args, **kwargs)

    return run
