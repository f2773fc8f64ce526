"""The contract of events: recording them and reading the audit."""

import sqlite3
from contextlib import closing, suppress
from typing import Any

import asyncpg
import pytest
from sqlalchemy import Select

from application.ports.queries import EventList
from application.request_info import REQUEST_INFO, RequestInfo
from domain.events import Event
from domain.pages import InvalidCursor
from domain.users import UserId
from infrastructure.database import events as sql
from infrastructure.database.driver.addresses import sqlite_path
from infrastructure.database.driver.connections import DIALECT as POSTGRESQL
from infrastructure.database.driver.sqlite import DIALECT as SQLITE
from infrastructure.database.driver.statements import compiled
from tests.contracts.backends import PASSWORD, Backend
from tests.factories import NewUserFactory
from tests.fakes.clock import NOON


def happened(name: str, **details: str | int | bool | None) -> Event:
    return Event(name=name, actor_id=UserId(7), subject="post:3", at=NOON, details=details)


async def record(backend: Backend, *events: Event) -> None:
    async with backend.storage() as uow:
        for event in events:
            uow.record(event)
        await uow.commit()


async def names(backend: Backend) -> list[str]:
    return [
        entry.event.name for entry in (await backend.queries.events(EventList(limit=100))).items
    ]


async def test_an_event_is_stored_with_the_info_of_its_request(
    backend: Backend,
) -> None:
    event = happened("post_edited", title=True, votes=3, reason="Ünïcödé", nothing=None)
    token = REQUEST_INFO.set(RequestInfo("request-1", "192.0.2.1"))
    try:
        await record(backend, event)
    finally:
        REQUEST_INFO.reset(token)

    (entry,) = (await backend.queries.events(EventList(limit=10))).items

    assert entry.event == event
    assert (entry.request_id, entry.ip) == ("request-1", "192.0.2.1")


async def test_an_event_outside_of_requests_has_no_request_info(backend: Backend) -> None:
    await record(backend, happened("post_edited"))

    (entry,) = (await backend.queries.events(EventList(limit=10))).items

    assert (entry.request_id, entry.ip) == (None, None)


async def test_an_event_without_a_commit_is_not_stored(backend: Backend) -> None:
    async with backend.storage() as uow:
        uow.record(happened("post_edited"))

    assert await names(backend) == []


async def test_an_event_is_rolled_back_with_its_change(backend: Backend) -> None:
    with suppress(ZeroDivisionError):
        async with backend.storage() as uow:
            await uow.users.add(NewUserFactory.build(), PASSWORD)
            uow.record(happened("user_registered"))
            raise ZeroDivisionError

    assert await names(backend) == []


async def test_events_are_paged_newest_first_without_repetition(backend: Backend) -> None:
    await record(backend, *(happened(f"event_{number}") for number in range(5)))

    walked, after = [], None
    while True:
        page = await backend.queries.events(EventList(limit=2, after=after))
        walked += [entry.event.name for entry in page.items]
        after = page.next
        if after is None:
            break

    assert walked == ["event_4", "event_3", "event_2", "event_1", "event_0"]


FILTERS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "an actor": ({"actor_id": UserId(7)}, ["d", "b", "a"]),
    "a subject": ({"subject": "post:1"}, ["c", "a"]),
    "a name": ({"name": "b"}, ["b"]),
    "an actor and a subject": ({"actor_id": UserId(7), "subject": "post:2"}, ["b"]),
    "all three": ({"actor_id": UserId(8), "subject": "post:1", "name": "c"}, ["c"]),
    "nothing that there is": ({"actor_id": UserId(7), "name": "c"}, []),
}


@pytest.mark.parametrize(("wanted", "expected"), FILTERS.values(), ids=FILTERS)
async def test_the_audit_is_filtered_by_actor_subject_and_name(
    backend: Backend, wanted: dict[str, Any], expected: list[str]
) -> None:
    rows = [("a", 7, "post:1"), ("b", 7, "post:2"), ("c", 8, "post:1"), ("d", 7, "post:10")]
    await record(
        backend,
        *(
            Event(name=name, actor_id=UserId(actor), subject=subject, at=NOON)
            for name, actor, subject in rows
        ),
    )

    walked, after = [], None
    while True:
        page = await backend.queries.events(EventList(limit=1, after=after, **wanted))
        walked += [entry.event.name for entry in page.items]
        after = page.next
        if after is None:
            break

    assert walked == expected


async def test_a_malformed_sort_key_is_refused(backend: Backend) -> None:
    with pytest.raises(InvalidCursor):
        await backend.queries.events(EventList(limit=2, after=(1, 2)))


# What the databases do

ROWS = 20_000
FILL = """
INSERT INTO events (at, name, actor_id, subject, details)
SELECT {now}, 'event_' || (n % 200), n % 200, 'post:' || (n % 200), '{{}}' FROM {numbers}
"""
VALUES = {"before": ROWS, "actor_id": 7, "subject": "post:7", "name": "event_7", "limit": 21}


async def plans(url: str, *statements: Select[Any]) -> list[str]:
    """How the database at `url` would run each of `statements` on many events."""
    path = sqlite_path(url)
    if path:
        count = f"SELECT 1 UNION ALL SELECT n + 1 FROM ns LIMIT {ROWS}"
        numbers = f"(WITH RECURSIVE ns (n) AS ({count}) SELECT n FROM ns)"
        with closing(sqlite3.connect(path)) as file, file:
            file.execute(FILL.format(now=0, numbers=numbers))
            file.execute("ANALYZE")
            queries = [compiled(statement, SQLITE) for statement in statements]
            return [
                str(file.execute(f"EXPLAIN QUERY PLAN {q.sql}", q.arguments(VALUES)).fetchall())
                for q in queries
            ]
    server = await asyncpg.connect(url)
    await server.execute(FILL.format(now="now()", numbers=f"generate_series(1, {ROWS}) AS ns (n)"))
    await server.execute("ANALYZE events")
    queries = [compiled(statement, POSTGRESQL) for statement in statements]
    found = [str(await server.fetch(f"EXPLAIN {q.sql}", *q.arguments(VALUES))) for q in queries]
    await server.close()
    return found


async def test_each_filter_of_the_audit_uses_an_index(
    backend: Backend, backend_url: str | None
) -> None:
    if backend_url is None:
        pytest.skip("a fake has no indexes")
    columns = ["actor_id", "subject", "name"]

    found = await plans(backend_url, *(sql._newest("before", column) for column in columns))

    for column, plan in zip(columns, found, strict=True):
        assert f"ix_events_{column}_id" in plan
        assert "sort" not in plan.lower()
        assert "temp b-tree" not in plan.lower()
