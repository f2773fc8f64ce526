"""What every storage does with events, and every query with what was recorded."""

from contextlib import suppress

import pytest

from application.request_info import REQUEST_INFO, RequestInfo
from domain.events import Event
from domain.pages import InvalidCursor
from domain.users import UserId
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
    return [entry.event.name for entry in (await backend.queries.events(100, None)).items]


async def test_an_event_comes_back_whole_with_the_request_that_it_came_with(
    backend: Backend,
) -> None:
    event = happened("post_edited", title=True, votes=3, reason="Ünïcödé", nothing=None)
    token = REQUEST_INFO.set(RequestInfo("request-1", "192.0.2.1"))
    try:
        await record(backend, event)
    finally:
        REQUEST_INFO.reset(token)

    (entry,) = (await backend.queries.events(10, None)).items

    assert entry.event == event
    assert (entry.request_id, entry.ip) == ("request-1", "192.0.2.1")


async def test_without_a_request_there_is_none_in_the_audit(backend: Backend) -> None:
    await record(backend, happened("post_edited"))

    (entry,) = (await backend.queries.events(10, None)).items

    assert (entry.request_id, entry.ip) == (None, None)


async def test_an_event_without_a_commit_never_happened(backend: Backend) -> None:
    async with backend.storage() as uow:
        uow.record(happened("post_edited"))

    assert await names(backend) == []


async def test_an_event_goes_with_the_change_that_it_tells_of(backend: Backend) -> None:
    with suppress(ZeroDivisionError):
        async with backend.storage() as uow:
            await uow.users.add(NewUserFactory.build(), PASSWORD)
            uow.record(happened("user_registered"))
            raise ZeroDivisionError

    assert await names(backend) == []


async def test_events_are_walked_newest_first_and_each_is_met_once(backend: Backend) -> None:
    await record(backend, *(happened(f"event_{number}") for number in range(5)))

    walked, after = [], None
    while True:
        page = await backend.queries.events(2, after)
        walked += [entry.event.name for entry in page.items]
        after = page.next
        if after is None:
            break

    assert walked == ["event_4", "event_3", "event_2", "event_1", "event_0"]


async def test_a_place_of_another_form_is_refused(backend: Backend) -> None:
    with pytest.raises(InvalidCursor):
        await backend.queries.events(2, (1, 2))
