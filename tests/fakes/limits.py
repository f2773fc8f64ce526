from collections import Counter
from collections.abc import Mapping, Sequence

from application.ports.limits import Hit, Limit, Limits, LimitStatus, TooManyRequests


class FakeLimits(Limits):
    """Counts everything and limits what `quotas` names, and how often an event is recorded;
    `pass_window` makes all windows end.
    """

    def __init__(self, quotas: Mapping[Limit, int] | None = None) -> None:
        self.quotas = dict(quotas or {})
        self.window = 60
        self.used: Counter[Hit] = Counter()

    async def hit(self, *hits: Hit) -> Sequence[LimitStatus]:
        for hit in hits:
            if self.used[hit] >= self._quota(hit):
                raise TooManyRequests(hit, self._status(hit))
        self.used.update(hits)
        return [self._status(hit) for hit in hits if hit.limit in self.quotas]

    async def release(self, *hits: Hit) -> None:
        self.used.subtract(hits)

    def pass_window(self) -> None:
        self.used.clear()

    def _quota(self, hit: Hit) -> int:
        unlimited = 1 if hit.limit is Limit.SECURITY_EVENTS else 10**9
        return self.quotas.get(hit.limit, unlimited) * hit.quotas

    def _status(self, hit: Hit) -> LimitStatus:
        quota = self._quota(hit)
        return LimitStatus(
            limit=hit.limit,
            quota=quota,
            window=self.window,
            remaining=quota - self.used[hit],
            resets_in=self.window,
        )
