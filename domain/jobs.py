"""Jobs: how often one is tried, and when a regular one is due."""

from datetime import UTC, datetime, time, timedelta

ATTEMPTS_MAX = 20
"""A job that has failed so often is not tried again by itself."""

FAILED_DAYS = 30
"""Days that failed jobs are kept."""

_PAUSE_MAX = timedelta(hours=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def pause_after(attempts: int, longest: timedelta = _PAUSE_MAX) -> timedelta:
    """How long to wait after so many attempts: 2 seconds, 4, 8 ... `longest`."""
    return min(timedelta(seconds=2 ** min(attempts, 20)), longest)


def next_time(period: timedelta, at: time, now: datetime) -> datetime:
    """The first moment after `now` that is a whole number of periods from `at` (UTC)."""
    first = _EPOCH + timedelta(hours=at.hour, minutes=at.minute, seconds=at.second)
    return first + ((now - first) // period + 1) * period
