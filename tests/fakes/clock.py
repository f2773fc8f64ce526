from datetime import UTC, datetime, timedelta

NOON = datetime(2026, 11, 23, 12, 0, 0, 123_456, tzinfo=UTC)


class FakeClock:
    """Stands still until somebody moves it."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, by: timedelta) -> None:
        self.now += by
