"""Work that is done again after a serialization failure."""

import asyncio

import pytest

from application.outages import SerializationFailure
from domain.errors import Unavailable
from domain.posts import PostNotFound
from infrastructure.database.driver.retries import PAUSES, retrying

ATTEMPTS = 1 + len(PAUSES)


class Work:
    """Fails with each of the errors in turn, then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)
        self.runs = 0

    async def __call__(self) -> str:
        self.runs += 1
        if self._errors:
            raise self._errors.pop(0)
        return "done"


async def test_what_lost_a_race_is_done_again() -> None:
    work = Work(*[SerializationFailure()] * (ATTEMPTS - 1))

    assert await retrying(work) == "done"
    assert work.runs == ATTEMPTS


async def test_after_the_last_attempt_the_failure_is_raised() -> None:
    work = Work(*[SerializationFailure()] * ATTEMPTS)

    with pytest.raises(SerializationFailure):
        await retrying(work)
    assert work.runs == ATTEMPTS


@pytest.mark.parametrize("error", [Unavailable(), PostNotFound(7), ValueError()])
async def test_any_other_error_is_raised_at_once(error: Exception) -> None:
    work = Work(error)

    with pytest.raises(type(error)):
        await retrying(work)
    assert work.runs == 1


async def test_a_cancellation_during_a_pause_ends_the_retries() -> None:
    running = asyncio.create_task(retrying(Work(*[SerializationFailure()] * ATTEMPTS)))
    await asyncio.sleep(0)
    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        await running
