"""When a standby is used, on databases that only report their position."""

import logging
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import Select, literal_column, select

from application.outages import DatabaseBusy, DatabaseUnavailable
from domain.errors import Unavailable
from infrastructure.database.driver.statements import Clause, Record
from infrastructure.database.replica import LAG_MAX, Replica

ONE: Select[Any] = select(literal_column("1"))
AWAY = "posts are read from the primary, not from the replica: "
BACK = "posts are read from the replica"


class Server:
    """At `position`, None for a server that is no standby; what is in `down` is refused."""

    timeout = 60.0

    def __init__(self) -> None:
        self.position: int | None = 0
        self.down: set[str] = set()
        self.error: type[DatabaseUnavailable] = DatabaseUnavailable
        self.asked = 0

    async def fetch(self, clause: Clause, **values: Any) -> Sequence[Record]:
        kind = "reads" if clause is ONE else "looks"
        self.asked += kind == "reads"
        if kind in self.down:
            raise self.error
        return [(self.position,)]

    fetch_shared = fetch

    async def close(self) -> None: ...


class Pair:
    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "gatepost.replica")
        self._caplog = caplog
        self.primary, self.standby = Server(), Server()
        self.replica = Replica(self.standby, self.primary)

    @property
    def log(self) -> list[str]:
        return [
            record.message for record in self._caplog.records if record.name == "gatepost.replica"
        ]

    async def look(self, times: int = 1) -> None:
        for _ in range(times):
            await self.replica.look()

    async def serves(self) -> bool:
        try:
            await self.replica.fetch_shared(ONE)
        except Unavailable:
            return False
        return True

    async def fail(self) -> None:
        """Somebody's read does."""
        self.standby.down.add("reads")
        assert not await self.serves()
        self.standby.down.clear()

    async def looks_until_it_serves(self) -> int:
        looks = 0
        while not await self.serves():
            await self.look()
            looks += 1
        return looks


@pytest.fixture
def pair(caplog: pytest.LogCaptureFixture) -> Pair:
    return Pair(caplog)


async def test_an_unprobed_standby_is_not_used(pair: Pair) -> None:
    assert not await pair.serves()
    assert pair.standby.asked == 0

    await pair.look()
    assert await pair.serves()
    assert pair.log == [BACK]


async def test_after_a_failure_the_standby_is_not_used_until_the_next_probe(pair: Pair) -> None:
    await pair.look()
    await pair.fail()
    asked = pair.standby.asked

    for _ in range(3):
        assert not await pair.serves()
    assert pair.standby.asked == asked


async def test_a_read_that_is_too_slow_leaves_the_standby_in_use(pair: Pair) -> None:
    await pair.look()
    pair.standby.error = DatabaseBusy
    await pair.fail()

    assert await pair.serves()
    assert pair.log == [BACK]


async def test_an_outage_of_the_standby_and_its_end_are_logged_once(pair: Pair) -> None:
    pair.standby.down.add("looks")
    await pair.look(5)
    assert pair.log == [f"{AWAY}DatabaseUnavailable"]

    pair.standby.down.clear()
    await pair.look(5)
    assert pair.log == [f"{AWAY}DatabaseUnavailable", BACK]


async def test_the_standby_must_have_replayed_what_the_primary_had_five_probes_ago(
    pair: Pair,
) -> None:
    behind = 10 * (LAG_MAX - 1)
    for position in range(100, 300, 10):
        pair.primary.position, pair.standby.position = position, position - behind
        await pair.look()
    assert await pair.serves()

    pair.primary.position, pair.standby.position = 300, 300 - behind - 1
    await pair.look()
    assert not await pair.serves()
    assert pair.log[-1] == f"{AWAY}it is more than 5 seconds behind"


async def test_a_standby_that_starts_far_behind_is_not_used(pair: Pair) -> None:
    pair.primary.position = 10
    await pair.look(3)
    assert not await pair.serves()

    pair.standby.position = 10
    await pair.look()
    assert await pair.serves()


async def test_a_promoted_standby_is_not_used(pair: Pair) -> None:
    await pair.look()
    pair.standby.position = None
    await pair.look()

    assert not await pair.serves()
    assert pair.log == [BACK, f"{AWAY}it is no standby"]


async def test_a_primary_that_does_not_answer_does_not_exclude_the_standby(pair: Pair) -> None:
    await pair.look()
    pair.primary.down.add("looks")
    await pair.look(10)

    assert await pair.serves()
    assert pair.log == [BACK]


async def test_a_standby_that_fails_again_soon_stays_excluded_for_longer(pair: Pair) -> None:
    await pair.look()
    looks = []
    for _ in range(7):
        await pair.fail()
        looks.append(await pair.looks_until_it_serves())
    await pair.look(100)
    await pair.fail()

    assert looks == [2, 4, 8, 16, 32, 32, 32]
    assert await pair.looks_until_it_serves() == 1


async def test_concurrent_failures_count_as_one(pair: Pair) -> None:
    await pair.look()
    for _ in range(5):
        await pair.fail()

    assert await pair.looks_until_it_serves() == 2
    assert len(pair.log) == 3
