"""The contract of webhooks and deliveries, and of jobs that depend on a subscription."""

import pytest

from application.ports.jobs import JobList, NewJob
from application.ports.webhooks import Deliveries, WebhookList, Webhooks
from domain.errors import AlreadyGone
from domain.events import Event
from domain.pages import InvalidCursor
from domain.webhooks import (
    Delivery,
    DeliveryStatus,
    EventName,
    NewDelivery,
    NewWebhook,
    Webhook,
    WebhookId,
)
from tests.contracts.backends import Backend
from tests.fakes.clock import NOON

WRITTEN = EventName.POST_WRITTEN


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
                type="post_written",
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
    assert fields(found) == fields(locked)
    assert found.status is DeliveryStatus.DELIVERED


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
        ((EventName.POST_EDITED, EventName.PASSWORD_RESET_REQUESTED), True, False),
        ((), True, False),
    ],
)
async def test_a_job_may_depend_on_a_subscription(
    backend: Backend, events: tuple[EventName, ...], active: bool, adds: bool
) -> None:
    if events:
        await add(backend, *events, active=active)
    job = NewJob(kind="tell", payload={"a": 1}, due_at=NOON, if_subscribed_to="post_written")

    async with backend.storage() as uow:
        await uow.jobs.add(job)
        await uow.commit()

    jobs = await backend.queries.of(JobList).jobs(10)
    assert [(it.kind, it.payload, it.due_at) for it in jobs] == [("tell", {"a": 1}, NOON)] * adds


async def test_an_event_that_a_webhook_is_told_of_adds_one_job(backend: Backend) -> None:
    for _ in range(2):
        await add(backend, WRITTEN)

    for name in ("post_written", "post_edited"):
        async with backend.storage() as uow:
            uow.record(Event.of(name, "post:7", actor_id=None, at=NOON))
            await uow.commit()

    assert [job.kind for job in await backend.queries.of(JobList).jobs(10)] == ["send_to_webhooks"]
