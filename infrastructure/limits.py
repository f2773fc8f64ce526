"""Limits, counted in this process or in a Redis or Valkey that several processes share.

docs/decisions/0012-limits.md says why windows are fixed, and why the process does its own counting.
The client of Redis is imported only where it is used, because importing it takes long.
"""

import asyncio
import hmac
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from math import ceil
from secrets import token_bytes
from time import time
from typing import TypeVar

import limits
from limits.aio.storage import RedisStorage

from application.ports.adapter import Reading
from application.ports.clock import Clock
from application.ports.limits import Hit, Limit, Limits, LimitStatus, TooManyRequests

WINDOWS_MAX = 50_000
"""Windows of one limit that a process keeps, some 250 bytes each."""
_LONGEST = 366 * 86_400
_TIMEOUT = 0.25
"""Seconds that a request waits for Redis. While it is down, one request waits every `_PAUSE`."""
_PAUSE = timedelta(seconds=1)

T = TypeVar("T")

log = logging.getLogger("gatepost")


@dataclass(frozen=True, slots=True)
class Rate:
    quota: int
    window: int
    """Seconds."""


FIXED_RATES = {Limit.SECURITY_EVENTS: Rate(1, 60)}
"""The rates of limits that no setting changes."""


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


@dataclass(slots=True)
class _Window:
    ends_at: float
    """Seconds since the epoch."""
    used: int = 0


_NO_WINDOW = _Window(0.0)


class ProcessLimits(Limits):
    """Counts in the memory of this process; other processes count for themselves. Limits that have
    no rate are not limited.

    Keeps at most `windows_max` windows of each limit, and none that counts nothing. When there are
    more, the one that ends first is forgotten. Keys are kept as digests.
    """

    def __init__(
        self, rates: Mapping[Limit, Rate], clock: Clock, *, windows_max: int = WINDOWS_MAX
    ) -> None:
        self._rates = rates
        self._clock = clock
        self._windows_max = windows_max
        self._digest_key = token_bytes(16)
        # The windows of a limit have one length, so they stand in the order in which they end.
        self._windows: dict[Limit, OrderedDict[bytes, _Window]] = {
            limit: OrderedDict() for limit in Limit
        }

    async def hit(self, *hits: Hit) -> Sequence[LimitStatus]:
        now = self._clock().timestamp()
        keyed = [(hit, self._digest(hit)) for hit in hits if hit.limit in self._rates]
        for hit, key in keyed:
            window = self._windows[hit.limit].get(key, _NO_WINDOW)
            if now < window.ends_at and window.used >= self._quota(hit):
                raise TooManyRequests(hit, self._status(hit, window, now))
        return [self._status(hit, self._count(hit, key, now), now) for hit, key in keyed]

    async def release(self, *hits: Hit) -> None:
        for hit in hits:
            windows, key = self._windows[hit.limit], self._digest(hit)
            if window := windows.get(key):
                window.used -= 1
                if window.used <= 0:
                    del windows[key]

    def readings(self) -> Sequence[Reading]:
        return (
            Reading(
                "gauge",
                "gatepost_limit_windows",
                "Windows of limits that this process keeps in memory",
                lambda: sum(map(len, self._windows.values())),
            ),
        )

    def _count(self, hit: Hit, key: bytes, now: float) -> _Window:
        windows = self._windows[hit.limit]
        window = windows.get(key)
        if window is None or window.ends_at <= now:
            windows.pop(key, None)
            # At most two are removed for each one added, so that no request pays for many.
            for _ in range(2):
                if windows and next(iter(windows.values())).ends_at <= now:
                    windows.popitem(last=False)
            if len(windows) >= self._windows_max:
                windows.popitem(last=False)
            window = windows[key] = _Window(now + self._rates[hit.limit].window)
        window.used += 1
        return window

    def _digest(self, hit: Hit) -> bytes:
        text = hit.key.encode(errors="surrogatepass")
        return blake2b(text, key=self._digest_key, digest_size=16).digest()

    def _quota(self, hit: Hit) -> int:
        return self._rates[hit.limit].quota * hit.quotas

    def _status(self, hit: Hit, window: _Window, now: float) -> LimitStatus:
        return _status(hit, self._rates[hit.limit], window.used, window.ends_at - now)


class SharedLimits(Limits):
    """Counts in the Redis or Valkey at `url`, and in this process while that is down.

    The keys of hits are hashed with `key`, which must be the same in all processes.
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
        """None while Redis is believed to be up."""

    async def close(self) -> None:
        await self._pool.disconnect()

    async def check(self) -> str | None:
        try:
            async with asyncio.timeout(_TIMEOUT):
                answers = await self._storage.check()
        except TimeoutError:
            answers = False
        return None if answers else "Redis does not answer; each worker counts for itself"

    async def hit(self, *hits: Hit) -> Sequence[LimitStatus]:
        answer = await self._ask(self._hit, hits)
        if answer is None:
            return await self._process.hit(*hits)
        if isinstance(answer, TooManyRequests):
            raise answer
        return answer

    async def release(self, *hits: Hit) -> None:
        if await self._ask(self._release, hits) is None:
            await self._process.release(*hits)

    def readings(self) -> Sequence[Reading]:
        return self._process.readings()

    async def _hit(self, hits: Sequence[Hit]) -> Sequence[LimitStatus] | TooManyRequests:
        statuses = []
        for count, hit in enumerate(hits, 1):
            name, rate = self._name(hit), self._rates[hit.limit]
            used = await self._storage.incr(name, rate.window)
            # Redis rounds to whole seconds; half a second more makes it never too few.
            left = await self._storage.get_expiry(name) - time() + 0.5 if used > 1 else rate.window
            statuses.append(_status(hit, rate, used, left))
            if used > rate.quota * hit.quotas:
                await self._release(hits[:count])
                return TooManyRequests(hit, statuses[-1])
        return statuses

    async def _release(self, hits: Sequence[Hit]) -> bool:
        for hit in hits:
            await self._storage.incr(self._name(hit), self._rates[hit.limit].window, -1)
        return True

    def _name(self, hit: Hit) -> str:
        """The name of a counter. It has the rate in it, so a changed rate starts a new one."""
        rate = self._rates[hit.limit]
        digest = hmac.digest(self._key, hit.key.encode(errors="surrogatepass"), "sha256")
        return f"{hit.limit}:{rate.quota}/{rate.window}:{digest[:16].hex()}"

    async def _ask(
        self, work: Callable[[Sequence[Hit]], Awaitable[T]], hits: Sequence[Hit]
    ) -> T | None:
        """The answer of Redis, or None while it is down."""
        was_down = self._ask_again_at is not None
        if self._ask_again_at is not None:
            now = self._clock()
            if now < self._ask_again_at:
                return None
            self._ask_again_at = now + _PAUSE  # other requests do not wait meanwhile
        try:
            async with asyncio.timeout(_TIMEOUT):
                answer = await work(hits)
        except self._failures as error:
            if self._ask_again_at is None:
                log.warning("Redis is down, limits are counted in each process: %r", error)
            self._ask_again_at = self._clock() + _PAUSE
            return None
        if was_down and self._ask_again_at is not None:
            log.warning("Redis is back, limits are shared again")
            self._ask_again_at = None
        return answer


def _status(hit: Hit, rate: Rate, used: int, left: float) -> LimitStatus:
    quota = rate.quota * hit.quotas
    return LimitStatus(
        limit=hit.limit,
        quota=quota,
        window=rate.window,
        remaining=max(0, quota - used),
        resets_in=max(1, min(rate.window, ceil(left))),
    )
