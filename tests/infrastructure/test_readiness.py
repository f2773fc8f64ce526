"""Readiness checks, and how often they reach the database."""

import asyncio
from typing import Any, cast

from application.outages import DatabaseUnavailable
from infrastructure.database import schema
from infrastructure.database.driver.statements import Clause, Database, Record
from infrastructure.database.readiness import HOLDS, Readiness


class Counting:
    """A database that serves, unless it is `down`, and counts how often it is looked at."""

    def __init__(self) -> None:
        self.looks = 0
        self.down = False

    async def fetch(self, clause: Clause, **values: Any) -> list[Record]:
        self.looks += 1
        await asyncio.sleep(0)
        if self.down:
            raise DatabaseUnavailable
        return [(schema.newest(), None)]

    async def check(self) -> None: ...


def readiness_of(database: Counting) -> Readiness:
    return Readiness(cast("Database", database))


async def test_one_check_answers_all_calls_within_half_a_second() -> None:
    database = Counting()
    readiness = readiness_of(database)

    assert await asyncio.gather(*(readiness() for _ in range(50))) == [[]] * 50
    database.down = True
    assert await readiness() == []

    assert (database.looks, HOLDS) == (1, 0.5)


async def test_a_later_call_checks_again() -> None:
    database = Counting()
    readiness = readiness_of(database)
    await readiness()
    database.down = True

    readiness._began -= HOLDS

    assert await readiness() == ["database"]
    assert database.looks == 2


async def test_a_cancelled_call_does_not_affect_the_others() -> None:
    database = Counting()
    readiness = readiness_of(database)
    first = asyncio.create_task(readiness())
    second = asyncio.create_task(readiness())
    await asyncio.sleep(0)

    first.cancel()

    assert await second == []
