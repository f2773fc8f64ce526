"""A circuit breaker: while the database is away, calls fail at once instead of waiting for it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context

from application.outages import DatabaseUnavailable

PAUSE = 0.25
"""Seconds between two probes."""


class Breaker:
    """Closed while the database answers. `trip` opens it and starts to probe; a probe that succeeds
    closes it, as does any call that is still under way.

    `probe` raises what is wrong, and `failed` is called with it.
    """

    def __init__(
        self, probe: Callable[[], Awaitable[None]], failed: Callable[[BaseException], None]
    ) -> None:
        self._probe = probe
        self._failed = failed
        self._probing: asyncio.Task[None] | None = None
        self._first_probe = asyncio.Event()
        self._cause: BaseException | None = None

    @property
    def is_open(self) -> bool:
        return self._probing is not None

    async def admit(self) -> None:
        """Let a call through. Raises `DatabaseUnavailable` while open, from the last probe's error.

        Waits for the first probe: one connection may have failed alone, and then it succeeds.
        """
        if self.is_open:
            await self._first_probe.wait()
            if self.is_open:
                raise DatabaseUnavailable from self._cause

    def trip(self) -> None:
        """Open, because a call has failed."""
        if self._probing is None:
            self._first_probe = asyncio.Event()
            loop = asyncio.get_running_loop()
            # In no request's context: it is asked for by many.
            self._probing = loop.create_task(self._probe_until_it_answers(), context=Context())

    def reset(self) -> None:
        """Close, because a call has succeeded."""
        if self._probing is not None:
            self._probing.cancel()
            self._close()

    async def _probe_until_it_answers(self) -> None:
        while True:
            try:
                await self._probe()
            except Exception as error:  # noqa: BLE001  any error of the probe keeps it open
                self._failed(error)
                self._cause = error
                self._first_probe.set()
                await asyncio.sleep(PAUSE)
            else:
                self._close()
                return

    def _close(self) -> None:
        self._probing = None
        self._first_probe.set()
