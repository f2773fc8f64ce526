"""Limits: counted in this process, or in a Redis or Valkey that several share.

docs/decisions/0012-limits.md says why the windows are fixed and why the process counts by itself.
The client of Redis is imported only where there is one: it takes a while.
"""

import asyncio
import hmac
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from time import time
from typing import TypeVar

import limits
from limits.aio.storage import RedisStorage

from application.ports.clock import Clock
from application.ports.limits import Hit, Limit, Limits, LimitStatus, TooManyRequests

_LONGEST = 366 * 86_400
_TIMEOUT = 0.25
"""Seconds that a request waits for Redis at the most, once every `_PAUSE`."""
_PAUSE = timedelta(seconds=1)

T = TypeVar("T")

log = logging.getLogger("gatepost")


@dataclass(frozen=True, slots=True)
class Rate:
    quota: int
    window: int
    """Seconds."""


def rate(text: str) -> Rate:
    """A rate in the notation of the `limits` package. Raises ValueError."""
    try:
        (item,) = limits.parse_many(text)
    except ValueError:
        raise ValueError("must be one limit, such as 10/minute or 100 per 2 hours") from None
    if not 1 <= item.amount <= 10**9 or not 1 <= item.get_expiry() <= _LONGEST:
        raise ValueError("must allow 1 to 1,000,000,000 in a time of up to 366 days")
    return Rate(item.amount, item.get_expiry())


def check_redis_url(url: str) -> None:
    """Raises ValueError, never with the URL in it."""
    from valkey.asyncio import ConnectionPool

    try:
        ConnectionPool.from_url(url).make_connection()  # type: ignore[no-untyped-call]
    except (TypeError, ValueError):
        raise ValueError(
            "must be redis://host:port/number (rediss:// with TLS), or unix:// and a path"
        ) from None


class NoLimits(Limits):
    async def hit(self, *uses: Hit) -> Sequence[LimitStatus]:  # noqa: ARG002
        return ()

    async def release(self, *uses: Hit) -> None: ...


@dataclass(slots=True)
class _Window:
    ends_at: datetime
    used: int = 0


class ProcessLimits(Limits):
    """Counts in this process: others that serve the same clients count for themselves."""

    def __init__(self, rates: Mapping[Limit, Rate], clock: Clock) -> None:
        self._rates = rates
        self._clock = clock
        # Of each limit in the order in which they end, so that those that are over are at hand.
        self._windows: dict[Limit, OrderedDict[str, _Window]] = {
            limit: OrderedDict() for limit in Limit
        }

    async def hit(self, *uses: Hit) -> Sequence[LimitStatus]:
        now = self._clock()
        windows = [self._window(use, now) for use in uses]
        for use, window in zip(uses, windows, strict=True):
            if window.used >= self._rates[use.limit].quota:
                raise TooManyRequests(self._standing(use, window, now))
        for window in windows:
            window.used += 1
        return [self._standing(use, window, now) for use, window in zip(uses, windows, strict=True)]

    async def release(self, *uses: Hit) -> None:
        now = self._clock()
        for use in uses:
            window = self._window(use, now)
            window.used = max(0, window.used - 1)

    def _window(self, use: Hit, now: datetime) -> _Window:
        windows = self._windows[use.limit]
        window = windows.get(use.key)
        if window is None or window.ends_at <= now:
            windows.pop(use.key, None)
            # Two for each that is added: there are never many that are over, nor many to remove.
            for _ in range(2):
                if windows and next(iter(windows.values())).ends_at <= now:
                    windows.popitem(last=False)
            window = _Window(now + timedelta(seconds=self._rates[use.limit].window))
            windows[use.key] = window
        return window

    def _standing(self, use: Hit, window: _Window, now: datetime) -> LimitStatus:
        left = (window.ends_at - now).total_seconds()
        return _standing(use.limit, self._rates[use.limit], window.used, left)


class SharedLimits(Limits):
    """Counts in the Redis or Valkey at `url`; while that is down, in this process.

    What is counted by is hashed with `key`, the same in all processes, before it goes there.
    """

    def __init__(self, rates: Mapping[Limit, Rate], clock: Clock, *, url: str, key: bytes) -> None:
        from valkey.asyncio import ConnectionPool
        from valkey.exceptions import ValkeyError

        self._rates = rates
        self._clock = clock
        self._key = key
        self._failures = (ValkeyError, OSError)
        self._pool = ConnectionPool.from_url(url)
        self._storage = RedisStorage(
            "async+valkey://",
            key_prefix="gatepost",
            connection_pool=self._pool,  # type: ignore[arg-type]  # it is only passed on
        )
        self._process = ProcessLimits(rates, clock)
        self._ask_again_at: datetime | None = None
        """None while Redis is up, as far as we know."""

    async def close(self) -> None:
        await self._pool.disconnect()

    async def check(self) -> str | None:
        try:
            async with asyncio.timeout(_TIMEOUT):
                answers = await self._storage.check()
        except TimeoutError:
            answers = False
        return None if answers else "Redis does not answer; each worker counts for itself"

    async def hit(self, *uses: Hit) -> Sequence[LimitStatus]:
        answer = await self._ask(self._take, uses)
        if answer is None:
            return await self._process.hit(*uses)
        if isinstance(answer, TooManyRequests):
            raise answer
        return answer

    async def release(self, *uses: Hit) -> None:
        if await self._ask(self._give_back, uses) is None:
            await self._process.release(*uses)

    async def _take(self, uses: Sequence[Hit]) -> Sequence[LimitStatus] | TooManyRequests:
        limit_statuses = []
        for count, use in enumerate(uses, 1):
            name, rate = self._name(use), self._rates[use.limit]
            used = await self._storage.incr(name, rate.window)
            # Redis tells whole seconds, rounded: with half of one more it is never too few.
            left = await self._storage.get_expiry(name) - time() + 0.5 if used > 1 else rate.window
            limit_statuses.append(_standing(use.limit, rate, used, left))
            if used > rate.quota:
                await self._give_back(uses[:count])
                return TooManyRequests(limit_statuses[-1])
        return limit_statuses

    async def _give_back(self, uses: Sequence[Hit]) -> bool:
        for use in uses:
            await self._storage.incr(self._name(use), self._rates[use.limit].window, -1)
        return True

    def _name(self, use: Hit) -> str:
        """With the rate in it: a changed one counts anew."""
        rate = self._rates[use.limit]
        digest = hmac.digest(self._key, use.key.encode(errors="surrogatepass"), "sha256")
        return f"{use.limit}:{rate.quota}/{rate.window}:{digest[:16].hex()}"

    async def _ask(
        self, work: Callable[[Sequence[Hit]], Awaitable[T]], uses: Sequence[Hit]
    ) -> T | None:
        """What Redis answers; None when it is down."""
        was_down = self._ask_again_at is not None
        if self._ask_again_at is not None:
            now = self._clock()
            if now < self._ask_again_at:
                return None
            self._ask_again_at = now + _PAUSE  # for the others: this request is the one that waits
        try:
            async with asyncio.timeout(_TIMEOUT):
                answer = await work(uses)
        except self._failures as error:
            if self._ask_again_at is None:
                log.warning("Redis is down, limits are counted in each process: %r", error)
            self._ask_again_at = self._clock() + _PAUSE
            return None
        if was_down and self._ask_again_at is not None:
            log.warning("Redis is back, limits are shared again")
            self._ask_again_at = None
        return answer


def _standing(limit: Limit, rate: Rate, used: int, left: float) -> LimitStatus:
    return LimitStatus(
        limit=limit,
        quota=rate.quota,
        window=rate.window,
        remaining=max(0, rate.quota - used),
        resets_in=max(1, min(rate.window, ceil(left))),
    )
