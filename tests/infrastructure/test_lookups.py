"""Shared lookups, on a model of a database that the test steps."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Dialect, bindparam, select

from application.outages import DatabaseUnavailable
from infrastructure.database.driver.connections import DIALECT
from infrastructure.database.driver.lookups import BATCH_MAX, SharedLookup, lookup
from infrastructure.database.driver.statements import Clause, Database, Record, Transaction

ANY_CLAUSE: Clause = select(bindparam("id"))
KEYS = range(4)


class Broken(Exception):
    """A mistake of ours, as opposed to a database that is down."""


@dataclass(eq=False)
class Query:
    keys: list[int]
    seen: dict[int, int] | None = None
    """What the server saw when it ran the query; None while it is on its way."""
    landing: asyncio.Event = field(default_factory=asyncio.Event)
    error: Exception | None = None


class SteppedDatabase(Database):
    """Rows are (key, how often it was written). Queries run and land when the test says so."""

    dialect: Dialect = DIALECT
    is_remote = True
    timeout = 60.0

    def __init__(self) -> None:
        self.rows = Counter(dict.fromkeys(KEYS, 1))
        self.in_flight: list[Query] = []
        self.sent: list[list[int]] = []

    async def open(self) -> None: ...
    async def close(self) -> None: ...

    async def fetch(self, clause: Clause, **values: Any) -> Sequence[Record]:
        query = Query(keys=values["id"])
        self.in_flight.append(query)
        self.sent.append(query.keys)
        try:
            await query.landing.wait()
        finally:
            self.in_flight.remove(query)
        if query.error:
            raise query.error
        assert query.seen is not None
        return [(key, query.seen[key]) for key in dict.fromkeys(query.keys) if key in query.seen]

    fetch_long = fetch_shared = fetch

    async def check(self) -> None: ...

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        raise NotImplementedError

    def run(self) -> None:
        for query in self.in_flight:
            query.seen = query.seen or dict(self.rows)

    def land(self, error: Exception | None = None) -> None:
        self.run()
        for query in self.in_flight:
            query.error = error
            query.landing.set()


@dataclass(eq=False)
class Asker:
    key: int
    written: int
    """How often its key had been written when it asked."""
    task: "asyncio.Task[Record | None]"


async def settled() -> None:
    for _ in range(6):
        await asyncio.sleep(0)


def shared(database: SteppedDatabase) -> SharedLookup:
    return SharedLookup(database, ANY_CLAUSE, ["id"])


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.sampled_from(KEYS)),
        st.tuples(st.just("write"), st.sampled_from(KEYS)),
        st.tuples(st.sampled_from(["run", "land", "fail"]), st.just(0)),
        st.tuples(st.just("cancel"), st.integers(0, 30)),
    ),
    max_size=40,
)


@given(actions=ACTIONS)
@settings(max_examples=300, deadline=None)
def test_every_lookup_gets_a_fresh_result_in_every_schedule(
    actions: list[tuple[str, int]],
) -> None:
    asyncio.run(play(actions))


class Play:
    def __init__(self) -> None:
        self.database = SteppedDatabase()
        self.find = shared(self.database)
        self.askers: list[Asker] = []

    def step(self, action: str, number: int) -> None:
        match action:
            case "ask":
                task = asyncio.create_task(self.find(number))
                self.askers.append(Asker(number, self.database.rows[number], task))
            case "write":
                self.database.rows[number] += 1
            case "run":
                self.database.run()
            case "land":
                self.database.land()
            case "fail":
                self.database.land(DatabaseUnavailable())
            case "cancel" if self.askers:
                self.askers[number % len(self.askers)].task.cancel()

    def judge(self, asker: Asker) -> None:
        assert asker.task.done()
        if asker.task.cancelled():
            return
        if error := asker.task.exception():
            assert isinstance(error, DatabaseUnavailable)
            return
        record = asker.task.result()
        assert record is not None
        assert asker.written <= record[0] <= self.database.rows[asker.key]


async def play(actions: list[tuple[str, int]]) -> None:
    play = Play()
    for action, number in actions:
        play.step(action, number)
        await settled()
        assert len(play.database.in_flight) <= 1
    while play.database.in_flight:
        play.database.land()
        await settled()
    for asker in play.askers:
        play.judge(asker)
    # Idle again: the next one is sent at once.
    sent = len(play.database.sent)
    last = asyncio.create_task(play.find(0))
    await asyncio.sleep(0)
    assert len(play.database.sent) == sent + 1
    play.database.land()
    await last


async def test_lookups_during_a_query_share_the_next_one() -> None:
    database = SteppedDatabase()
    find = shared(database)

    asking = [asyncio.create_task(find(key)) for key in (0, 1, 2, 1)]
    await settled()
    assert database.sent == [[0]]
    database.land()
    await settled()

    assert database.sent == [[0], [1, 2, 1]]
    database.land()
    assert [await task for task in asking] == [(1,)] * 4


async def test_a_missing_key_gives_none() -> None:
    database = SteppedDatabase()
    asking = asyncio.create_task(shared(database)(99))
    await settled()
    database.land()

    assert await asking is None


async def test_the_size_of_a_batch_is_bounded() -> None:
    database = SteppedDatabase()
    find = shared(database)
    asking = [asyncio.create_task(find(0)) for _ in range(BATCH_MAX + 6)]
    await settled()

    while database.in_flight:
        database.land()
        await settled()

    assert [len(keys) for keys in database.sent] == [1, BATCH_MAX, 5]
    assert all(task.done() for task in asking)


async def test_a_failed_batch_does_not_affect_the_next_one() -> None:
    database = SteppedDatabase()
    find = shared(database)
    first = asyncio.create_task(find(0))
    await settled()
    second = asyncio.create_task(find(1))
    await settled()

    database.land(DatabaseUnavailable())
    await settled()
    database.land()

    with pytest.raises(DatabaseUnavailable):
        await first
    assert await second == (1,)


async def test_each_lookup_of_a_failed_batch_gets_its_own_exception() -> None:
    database = SteppedDatabase()
    find = shared(database)
    first = asyncio.create_task(find(0))
    await settled()
    waiting = [asyncio.create_task(find(1)) for _ in range(2)]
    await settled()
    database.land()
    await settled()
    database.land(DatabaseUnavailable())
    await first

    errors = await asyncio.gather(*waiting, return_exceptions=True)

    assert [type(error) for error in errors] == [DatabaseUnavailable] * 2
    assert errors[0] is not errors[1]


async def test_a_programming_error_is_not_reported_as_an_outage() -> None:
    database = SteppedDatabase()
    find = shared(database)
    first = asyncio.create_task(find(0))
    await settled()
    second = asyncio.create_task(find(1))
    await settled()
    database.land()
    await settled()
    database.land(Broken())

    assert await first == (1,)
    with pytest.raises(Broken):
        await second


async def test_cancelling_the_first_lookup_does_not_affect_the_others() -> None:
    database = SteppedDatabase()
    find = shared(database)
    first = asyncio.create_task(find(0))
    await settled()
    second = asyncio.create_task(find(1))
    await settled()

    first.cancel()
    with suppress(asyncio.CancelledError):
        await first
    await settled()
    database.land()

    assert await second == (1,)


async def test_a_cancelled_lookup_is_left_out_of_the_query() -> None:
    database = SteppedDatabase()
    find = shared(database)
    first = asyncio.create_task(find(0))
    await settled()
    gone = asyncio.create_task(find(1))
    await settled()
    gone.cancel()
    await settled()

    database.land()
    await first
    await settled()

    assert database.sent == [[0]]


async def test_an_embedded_database_does_not_share_lookups() -> None:
    database = SteppedDatabase()
    database.is_remote = False
    find = lookup(database, one=ANY_CLAUSE, many=ANY_CLAUSE, key=["id"])

    asking = [asyncio.create_task(find(key)) for key in (0, 1)]
    await settled()

    assert len(database.sent) == len(asking)
    for task in asking:
        task.cancel()
