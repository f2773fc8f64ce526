"""Signals and drains of a service: docs/decisions/0031-drain-on-public-interfaces.md.

The first SIGTERM or SIGHUP begins the drain, and the server stops when it is over. The first SIGINT
stops the server at once. A second signal cuts off what still runs; of a worker only its supervisor
does that, because a terminal and systemd send each signal to both. SIGHUP is the supervisor's too.
"""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import parent_process
from types import FrameType


@contextmanager
def draining_on_signals(begin: Callable[[], None], *, seconds: float) -> Iterator[None]:
    """Handle signals in this block, within the lifespan of an ASGI server.

    The first one calls `begin`, and the server's own handler of SIGTERM `seconds` later. A worker
    whose supervisor has died stops at once. Without handlers of the server's (in a test, or in a
    thread) nothing is handled.
    """
    server = signal.getsignal(signal.SIGTERM)
    if not callable(server) or threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    supervisor = parent_process()
    has_begun = False

    def handle(number: int, frame: FrameType | None = None) -> None:
        nonlocal has_begun
        if not has_begun:
            has_begun = True
            begin()
            pause = 0 if number == signal.SIGINT else seconds
            loop.call_soon_threadsafe(loop.call_later, pause, server, signal.SIGTERM, None)
        elif supervisor is None:
            server(signal.SIGTERM, frame)
            server(signal.SIGINT, frame)  # which uvicorn takes for: now, by force

    def follow_supervisor() -> None:
        if supervisor:
            loop.remove_reader(supervisor.sentinel)
        handle(signal.SIGINT)

    handled = [signal.SIGTERM, signal.SIGINT]
    if supervisor:
        loop.add_reader(supervisor.sentinel, follow_supervisor)
    else:
        handled.append(signal.SIGHUP)
    replaced = {number: signal.signal(number, handle) for number in handled}
    try:
        yield
    finally:
        if supervisor:
            loop.remove_reader(supervisor.sentinel)
        for number, handler in replaced.items():
            signal.signal(number, handler)
