import asyncio
import logging
from contextlib import suppress
from datetime import timedelta

import pytest

from application.background import every
from domain.errors import Unavailable


async def ran(outcomes: list[Exception | None]) -> int:
    """How often work with these outcomes is done; after the last one it is cancelled."""
    done = 0

    async def work() -> None:
        nonlocal done
        done += 1
        if done == len(outcomes):
            task.cancel()
        if outcome := outcomes[done - 1]:
            raise outcome

    task = asyncio.create_task(every(timedelta(0), work))
    with suppress(asyncio.CancelledError):
        await task
    return done


async def test_regular_work_repeats_until_it_is_cancelled() -> None:
    assert await ran([None, None, None]) == 3


async def test_regular_work_logs_an_error_and_continues(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR):
        assert await ran([ValueError("oops"), None]) == 2

    assert "oops" in caplog.text


async def test_regular_work_does_not_log_an_outage(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert await ran([Unavailable(), None]) == 2

    assert caplog.records == []
