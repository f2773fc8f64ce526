from datetime import UTC, datetime, time, timedelta

import pytest

from domain.jobs import next_time, pause_after

HOUR = timedelta(hours=1)


@pytest.mark.parametrize(("given", "longest"), [((), HOUR), ((12 * HOUR,), 12 * HOUR)])
def test_the_pauses_grow_to_the_longest(given: tuple[timedelta, ...], longest: timedelta) -> None:
    pauses = [pause_after(attempts, *given) for attempts in range(1, 100)]

    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (timedelta(seconds=2), longest)


@pytest.mark.parametrize(
    ("hours", "at", "now", "due"),
    [
        (24, time(3, 30), (23, 3, 29), (23, 3, 30)),
        (24, time(3, 30), (23, 3, 30), (24, 3, 30)),
        (24, time(), (23, 23, 59), (24, 0, 0)),
        (1, time(), (23, 3, 30), (23, 4, 0)),
    ],
)
def test_regular_work_is_due_at_its_time_of_day(
    hours: int, at: time, now: tuple[int, int, int], due: tuple[int, int, int]
) -> None:
    def moment(day: int, hour: int, minute: int) -> datetime:
        return datetime(2026, 11, day, hour, minute, tzinfo=UTC)

    assert next_time(timedelta(hours=hours), at, moment(*now)) == moment(*due)
