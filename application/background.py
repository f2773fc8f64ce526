"""Work beside the requests.

A task is an async function of the services that runs until it is cancelled. The module of a concept
lists its tasks in `BACKGROUND`; every process that serves runs them all, so that several may do the
same work at the same time.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from typing import Any, NoReturn

from application.concepts import modules
from application.services import Services
from domain.errors import Unavailable

Task = Callable[[Services], Coroutine[Any, Any, None]]

log = logging.getLogger("gatepost.background")


def background(services: Services) -> list[Coroutine[Any, Any, None]]:
    """The background work, not started yet: the delivery of mail, and all tasks."""
    tasks: list[Task] = [
        task for module in modules("application") for task in getattr(module, "BACKGROUND", ())
    ]
    return [services.mail.deliver_forever(), *(task(services) for task in tasks)]


async def every(pause: timedelta, work: Callable[[], Awaitable[object]]) -> NoReturn:
    """Run `work` until cancelled, with a pause after each time.

    What it raises is logged and does not end it; `Unavailable` is not, since the adapter that is
    down says so itself.
    """
    while True:
        try:
            await work()
        except Unavailable:
            pass
        except Exception:
            log.exception("a task in the background failed")
        await asyncio.sleep(pause.total_seconds())
