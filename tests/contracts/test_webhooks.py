"""The contract of webhooks and deliveries, and of jobs that depend on a subscription."""

import pytest
from sqlalchemy import Dialect

from application.ports.jobs import JobList
from application.ports.webhooks import Deliveries, WebhookList, Webhooks
from application.reactions import happened_of
from application.request_info import REQUEST_INFO, RequestInfo
from domain.errors import AlreadyGone
from domain.events import Event
from domain.pages import InvalidCursor
from domain.users import UserId
from domain.webhooks import (
    Delivery,
    DeliveryStatus,
    EventName,
    NewDelivery,
    NewWebhook,
    Webhook,
    WebhookId,
)
from infrastructure.database.driver import connections, sqlite
from infrastructure.database.driver.statements import compiled
from infrastructure.database.reactions import ADD_IF_SUBSCRIBED
from tests.contracts.backends import Backend
from tests.fakes.clock import NOON

WRITTEN = EventName.USER_RENAMED


async def add(backend: Backend, *events: EventName, active: bool = True) -> Webhook:
    async with backend.storage() as uow:
        webhooks = uow.of(Webhooks)
        new = NewWebhook(url="https://example.com/", events=events, created_at=NOON)
        webhook = await webhooks.add(new)
        webhook.sealed_secret, webhook.active = "sealed", active
        await webhooks.save(webhook)
        await uow.commit()
    return webhook


async def deliver(backend: Backend, webhook_id: WebhookId, number: int = 1) -> Delivery:
    async with backend.storage() as uow:
        delivery = await uow.of(Deliveries).add(
            NewDelivery(
                webhook_id=webhook_id,
                message_id=f"msg_{number}",
                type="user_renamed",
                body='{"ünïcödé":1}',
                created_at=NOON,
            )
        )
        await uow.commit()
    return delivery


def fields(entity: Webhook | Delivery) -> list[object]:
    return [getattr(entity, name) for name in entity.__slots__]


async def test_a_webhook_is_stored_as_it_was_saved(backend: Backend) -> None:
    listed = backend.queries.of(WebhookList)
    webhook = await add(backend, WRITTEN, EventName.USER_RENAMED)
    async with backend.storage() as uow:
        locked = await uow.of(Webhooks).get(webhook.id)
        assert locked is not None
        locked.change_secret("newer", NOON)
        await uow.of(Webhooks).save(locked)
        await uow.commit()

    found = await listed.webhook(webhook.id)

    assert found is not None
    assert fields(found) == fields(locked)
    assert found.events == (WRITTEN, EventName.USER_RENAMED)
    assert await listed.webhook(WebhookId(4711)) is None


async def test_webhooks_are_listed_oldest_first(backend: Backend) -> None:
    webhooks = [await add(backend, WRITTEN, active=active) for active in (True, False, True)]
    first, second, third = [webhook.id for webhook in webhooks]

    found = await backend.queries.of(WebhookList).webhooks()
    assert [webhook.id for webhook in found] == [first, second, third]
    async with backend.storage() as uow:
        assert [webhook.id for webhook in await uow.of(Webhooks).active()] == [first, third]


async def test_deliveries_are_paged_newest_first(backend: Backend) -> None:
    listed = backend.queries.of(WebhookList)
    webhook, other = await add(backend, WRITTEN), await add(backend, WRITTEN)
    ids = [(await deliver(backend, webhook.id, number)).id for number in range(3)]
    await deliver(backend, other.id)

    page = await listed.deliveries(webhook.id, 2, None)
    assert [item.id for item in page.items] == [ids[2], ids[1]]
    last = await listed.deliveries(webhook.id, 2, page.next)
    assert ([item.id for item in last.items], last.next) == ([ids[0]], None)
    with pytest.raises(InvalidCursor):
        await listed.deliveries(webhook.id, 2, (1, 2))


async def test_a_delivery_is_stored_as_it_was_saved(backend: Backend) -> None:
    delivery = await deliver(backend, (await add(backend, WRITTEN)).id)
    async with backend.storage() as uow:
        locked = await uow.of(Deliveries).get(delivery.id)
        assert locked is not None
        locked.attempted(204, is_last=False)
        await uow.of(Deliveries).save(locked)
        await uow.commit()

    found = await backend.queries.of(WebhookList).delivery(delivery.id)

    assert found is not None
    assert fields(found[0]) == fields(locked)
    assert found[0].status is DeliveryStatus.DELIVERED
    assert found[1].id == delivery.webhook_id


async def test_the_outcome_of_an_attempt_is_noted_unless_the_delivery_was_asked_for_again(
    backend: Backend,
) -> None:
    delivery = await deliver(backend, (await add(backend, WRITTEN)).id)
    delivery.attempted(500, is_last=False)

    for is_asked_for_again in (False, True):
        async with backend.storage() as uow:
            if is_asked_for_again:
                delivery.attempted(204, is_last=False)
                again = await uow.of(Deliveries).get(delivery.id)
                assert again is not None
                again.ask_again()
                await uow.of(Deliveries).save(again)
            await uow.of(Deliveries).note(delivery)
            await uow.commit()
        found = await backend.queries.of(WebhookList).delivery(delivery.id)

        assert found is not None
        assert (found[0].status, found[0].attempts) == (DeliveryStatus.WAITING, 1)
        assert (found[0].status_code, found[0].round) == (500, int(is_asked_for_again))


async def test_deliveries_go_with_their_webhook(backend: Backend) -> None:
    webhook = await add(backend, WRITTEN)
    delivery = await deliver(backend, webhook.id)
    async with backend.storage() as uow:
        await uow.of(Webhooks).remove(webhook)
        await uow.commit()

    assert await backend.queries.of(WebhookList).delivery(delivery.id) is None
    with pytest.raises(AlreadyGone):
        await deliver(backend, webhook.id)


@pytest.mark.parametrize(
    ("events", "active", "adds"),
    [
        ((WRITTEN,), True, True),
        ((EventName.USER_RENAMED, WRITTEN), True, True),
        ((EventName.ANY,), True, True),
        ((WRITTEN,), False, False),
        ((EventName.ROLE_CHANGED, EventName.PASSWORD_RESET_REQUESTED), True, False),
        ((), True, False),
    ],
)
async def test_an_event_adds_a_job_if_a_webhook_subscribes_to_it(
    backend: Backend, events: tuple[EventName, ...], active: bool, adds: bool
) -> None:
    if events:
        await add(backend, *events, active=active)
    event = Event.of("user_renamed", "user:7", actor_id=UserId(8), at=NOON, title="Ünïcödé", a=1)
    info = RequestInfo("request-1", "192.0.2.1")

    token = REQUEST_INFO.set(info)
    try:
        async with backend.storage() as uow:
            uow.record(event)
            await uow.commit()
    finally:
        REQUEST_INFO.reset(token)

    jobs = await backend.queries.of(JobList).jobs(10)
    found = [(it.kind, happened_of(it).event, it.due_at, it.attempts, it.origin) for it in jobs]
    assert found == [("send_to_webhooks", event, NOON, 0, info)] * adds
    assert all(len(happened_of(job).id) == 32 for job in jobs)


@pytest.mark.parametrize("dialect", [connections.DIALECT, sqlite.DIALECT], ids=lambda it: it.name)
def test_an_event_sends_nothing_for_its_job(dialect: Dialect) -> None:
    assert compiled(ADD_IF_SUBSCRIBED, dialect).parameters == ()


@pytest.mark.parametrize("reads_first", [False, True])
async def test_two_events_of_one_commit_add_a_job_each_for_all_their_webhooks(
    backend: Backend, reads_first: bool
) -> None:
    for _ in range(2):
        await add(backend, WRITTEN)

    async with backend.storage() as uow:
        if reads_first:  # the transaction begins before the commit
            await uow.of(Webhooks).active()
        for name, subject in (("user_renamed", "user:7"), ("role_changed", "user:7")) * 2:
            uow.record(Event.of(name, subject, actor_id=None, at=NOON))
        await uow.commit()

    jobs = await backend.queries.of(JobList).jobs(10)
    assert [job.kind for job in jobs] == ["send_to_webhooks"] * 2
    assert {happened_of(job).event.name for job in jobs} == {"user_renamed"}
    assert len({happened_of(job).id for job in jobs}) == 2
