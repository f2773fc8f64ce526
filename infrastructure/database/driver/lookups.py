"""Reads by key that share round trips: the read-side twin of group commit.

A lookup that finds no query in flight sends its own, at once. Those that arrive meanwhile wait for
it to end and then go out together in the next one. So each still sees the state at or after its own
arrival, a service under load sends a handful of queries where it would have sent thousands, and a
kind of lookup holds at most one connection, and none when idle.

A shared query may take half of the time of a call, so that requests queued behind it still have the
other half for theirs.

docs/decisions/0003-shared-lookups.md has the measurements.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass
from typing import Any, Protocol, cast

from application.outages import DatabaseBusy, DatabaseUnavailable
from application.ports.adapter import Reading
from infrastructure.database.driver.statements import Clause, Database, Record

BATCH_MAX = 500

Part = int | str
Key = tuple[Part, ...]


@dataclass(slots=True)
class Batches:
    """Counts of what all shared lookups of this process have sent."""

    queries: int = 0
    keys: int = 0

    def readings(self) -> Sequence[Reading]:
        return (
            Reading(
                "counter",
                "gatepost_lookup_queries_total",
                "Queries that looked records up by their keys",
                lambda: self.queries,
            ),
            Reading(
                "counter",
                "gatepost_lookup_keys_total",
                "Keys that were looked up by these queries",
                lambda: self.keys,
            ),
        )


BATCHES = Batches()


class Remote(Protocol):
    """A database that is remote."""

    timeout: float
    """Seconds that a call may take."""

    async def close(self) -> None: ...

    async def fetch_shared(self, clause: Clause, **values: Any) -> Sequence[Record]:
        """As `fetch`, within half of `timeout`."""
        ...


class Lookup(Protocol):
    async def __call__(self, *key: Part) -> Record | None:
        """The record with this key as it is now; None when there is none."""
        ...


class PlainLookup:
    """A query for each: for a database that answers faster than anybody could wait."""

    def __init__(self, database: Database, one: Clause, key: Sequence[str]) -> None:
        self._database = database
        self._one = one
        self._names = key

    async def __call__(self, *key: Part) -> Record | None:
        values = dict(zip(self._names, key, strict=True))
        records = await self._database.fetch(self._one, **values)
        return records[0] if records else None


class SharedLookup:
    """`many` takes an array for each part of the key and answers with the key's parts ahead of
    each record's own columns.
    """

    def __init__(self, database: Remote, many: Clause, key: Sequence[str]) -> None:
        self._database = database
        self._many = many
        self._names = key
        self._in_flight = False
        self._waiting: list[tuple[Key, asyncio.Future[Record | None]]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, *key: Part) -> Record | None:
        if self._in_flight:
            return await self._behind_others(key)
        self._in_flight = True
        try:
            return (await self._fetch([key])).get(key)
        finally:
            self._go_on()

    async def _behind_others(self, key: Key) -> Record | None:
        answer: asyncio.Future[Record | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((key, answer))
        if len(self._waiting) <= BATCH_MAX:
            return await answer  # two queries, each of which may take half of the time
        try:
            async with asyncio.timeout(self._database.timeout):
                return await answer
        except TimeoutError:
            raise DatabaseBusy from None

    def _go_on(self) -> None:
        """Whoever was in flight has landed: send those who waited, without making it wait."""
        if not self._waiting:
            self._in_flight = False
            return
        batch, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
        # In no request's context: it is asked for by many.
        task = asyncio.get_running_loop().create_task(self._answer(batch), context=Context())
        self._tasks.add(task)  # the loop alone would not keep it alive
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, batch: list[tuple[Key, asyncio.Future[Record | None]]]) -> None:
        # Nobody asks any more for an answer that is done already: its request was cancelled.
        asking = [(key, answer) for key, answer in batch if not answer.done()]
        try:
            found = await self._fetch([key for key, _ in asking]) if asking else {}
        except Exception as error:  # noqa: BLE001  raised in every request that waits
            for _, answer in asking:
                if not answer.done():
                    answer.set_exception(_own(error))
        else:
            for key, answer in asking:
                if not answer.done():
                    answer.set_result(found.get(key))
        finally:
            self._go_on()

    async def _fetch(self, keys: Sequence[Key]) -> Mapping[Key, Record]:
        BATCHES.queries += 1
        BATCHES.keys += len(keys)
        width = len(self._names)
        values = {name: [key[part] for key in keys] for part, name in enumerate(self._names)}
        records = await self._database.fetch_shared(self._many, **values)
        return {tuple(record[:width]): record[width:] for record in map(tuple, records)}


def _own(error: Exception) -> Exception:
    """An exception for each who waits: shared, it would gather all their tracebacks."""
    return DatabaseUnavailable() if isinstance(error, DatabaseUnavailable) else error


def lookup(database: Database, *, one: Clause, many: Clause, key: Sequence[str]) -> Lookup:
    """The kind of lookup that suits `database`. Both statements take the parts of `key` by name."""
    if database.is_remote:
        return SharedLookup(cast("Remote", database), many, key)
    return PlainLookup(database, one, key)
