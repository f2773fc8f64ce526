from collections import Counter
from collections.abc import Mapping, Sequence

from application.ports.limits import Hit, Limit, Limits, LimitStatus, TooManyRequests


class FakeLimits(Limits):
    """Counts everything and limits what `quotas` names; `pass_window` makes all windows end."""

    def __init__(self, quotas: Mapping[Limit, int] | None = None) -> None:
        self.quotas = dict(quotas or {})
        self.window = 60
        self.used: Counter[Hit] = Counter()

    async def hit(self, *uses: Hit) -> Sequence[LimitStatus]:
        for use in uses:
            if self.used[use] >= self.quotas.get(use.limit, 10**9):
                raise TooManyRequests(self._standing(use))
        self.used.update(uses)
        return [self._standing(use) for use in uses if use.limit in self.quotas]

    async def release(self, *uses: Hit) -> None:
        self.used.subtract(uses)

    def pass_window(self) -> None:
        self.used.clear()

    def _standing(self, use: Hit) -> LimitStatus:
        quota = self.quotas[use.limit]
        return LimitStatus(
            limit=use.limit,
            quota=quota,
            window=self.window,
            remaining=quota - self.used[use],
            resets_in=self.window,
        )
