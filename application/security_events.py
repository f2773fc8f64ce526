"""Audit events for refusals: failed logins and exhausted limits."""

from collections.abc import Sequence
from contextlib import suppress

from application.ports.clock import Clock
from application.ports.limits import Hit, Limit, Limits, LimitStatus, TooManyRequests
from application.ports.storage import Storage, UnitOfWork
from domain.errors import Unavailable
from domain.events import Event


class SecurityEvents:
    """Records refusals, each at most once a minute."""

    def __init__(self, *, limits: Limits, storage: Storage, clock: Clock) -> None:
        self._limits = limits
        self._storage = storage
        self._clock = clock

    async def record(self, name: str, subject: str, *, key: str, **details: str | int) -> None:
        """Record the event, unless one with this name and `key` was recorded within a minute.

        Records nothing while the database is down; the refusal itself is not affected.
        """
        try:
            await self._limits.hit(Hit(Limit.SECURITY_EVENTS, f"{name} {key}"))
        except TooManyRequests:
            return
        event = Event(name=name, actor_id=None, subject=subject, at=self._clock(), details=details)

        async def work(uow: UnitOfWork) -> None:
            uow.record(event)
            await uow.commit()

        with suppress(Unavailable):
            await self._storage.run(work)


class RecordedLimits(Limits):
    """Wraps `limits` and records each limit that is exhausted, but that of the records."""

    def __init__(self, limits: Limits, events: SecurityEvents) -> None:
        self._limits = limits
        self._events = events

    async def hit(self, *hits: Hit) -> Sequence[LimitStatus]:
        try:
            return await self._limits.hit(*hits)
        except TooManyRequests as refusal:
            hit = refusal.hit
            if hit.limit is Limit.SECURITY_EVENTS:
                raise
            await self._events.record(
                "limit_reached", hit.subject, key=f"{hit.limit} {hit.key}", limit=hit.limit.value
            )
            raise

    async def release(self, *hits: Hit) -> None:
        await self._limits.release(*hits)
