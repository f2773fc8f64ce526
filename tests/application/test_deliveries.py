"""Deliveries: from an event to a message that the receiver can verify, on fakes."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from application.services import Services
from application.webhooks import WebhookChange, WebhookService
from application.worker import Worker
from domain.events import Event
from domain.users import Role, User
from domain.webhooks import (
    RETRIES,
    Delivery,
    DeliveryNotFound,
    DeliveryStatus,
    EventName,
    NotAPublicAddress,
)
from tests.factories import UserDraftFactory
from tests.fakes.outgoing import Sent
from tests.fakes.ports import FakePorts
from tests.jobs import do_next, worker_of

URL = "https://example.com/hook"
ANY = (EventName.ANY,)


@pytest.fixture
async def admin(services: Services, ports: FakePorts) -> User:
    ports.clock.now = datetime.now(UTC)  # receivers look at the time
    draft = UserDraftFactory.build()
    return await services.accounts.register(draft, "correct horse", Role.ADMIN)


@pytest.fixture
def webhooks(services: Services) -> WebhookService:
    return services.of(WebhookService)


async def happen(ports: FakePorts, name: str = "user_renamed") -> None:
    async with ports.storage() as uow:
        uow.record(Event.of(name, "user:7", actor_id=None, at=ports.clock()))
        await uow.commit()


async def do_all(services: Services) -> None:
    while await do_next(services):
        pass


def deliveries(ports: FakePorts) -> list[Delivery]:
    return list(ports.storage.committed.rows(Delivery).values())


def verified(sent: Sent, secret: str) -> dict[str, object]:
    found: dict[str, object] = Verifier(secret).verify(sent.body, dict(sent.headers))
    return found


async def test_a_receiver_verifies_what_it_is_told(
    ports: FakePorts, services: Services, webhooks: WebhookService, admin: User
) -> None:
    _, secret = await webhooks.create(admin, URL, (EventName.USER_RENAMED,))
    await happen(ports, "role_changed")
    await happen(ports)

    await do_all(services)

    (sent,) = ports.outgoing.sent
    assert sent.url == URL
    assert verified(sent, secret)["type"] == "user_renamed"
    assert json.loads(sent.body)["data"]["subject"] == "user:7"
    assert secret not in str(ports.storage.committed.rows(Delivery))
    (delivery,) = deliveries(ports)
    assert (delivery.status, delivery.status_code) == (DeliveryStatus.DELIVERED, 204)
    assert ports.storage.committed.jobs == {}


async def test_an_event_that_no_webhook_is_told_of_adds_no_job(
    ports: FakePorts, webhooks: WebhookService, admin: User
) -> None:
    await happen(ports)
    await webhooks.create(admin, URL, (EventName.ROLE_CHANGED,))
    webhook, _ = await webhooks.create(admin, URL, (EventName.USER_RENAMED,))
    await webhooks.change(admin, webhook.id, WebhookChange(active=False))

    await happen(ports)

    assert ports.storage.committed.jobs == {}


async def test_two_secrets_sign_for_a_day_after_a_change(
    ports: FakePorts, services: Services, webhooks: WebhookService, admin: User
) -> None:
    webhook, old = await webhooks.create(admin, URL, (EventName.USER_RENAMED,))
    _, new = await webhooks.change_secret(admin, webhook.id)
    await happen(ports)
    await do_all(services)
    assert verified(ports.outgoing.sent[0], old) == verified(ports.outgoing.sent[0], new)

    ports.clock.advance(timedelta(days=1))
    await happen(ports)
    await do_all(services)

    signatures = ports.outgoing.sent[1].headers["webhook-signature"]
    assert len(signatures.split()) == 1
    with pytest.raises(WebhookVerificationError):
        verified(ports.outgoing.sent[1], old)


async def test_a_delivery_is_tried_again_over_three_days_with_the_same_id(
    ports: FakePorts, services: Services, webhooks: WebhookService, admin: User
) -> None:
    await webhooks.create(admin, URL, (EventName.USER_RENAMED,))
    await happen(ports)
    ports.outgoing.status = 500
    await do_all(services)
    for pause in RETRIES:
        assert deliveries(ports)[0].status is DeliveryStatus.WAITING
        ports.clock.advance(pause - timedelta(microseconds=1))
        assert not await do_next(services)
        ports.clock.advance(timedelta(microseconds=1))
        assert await do_next(services)

    assert not await do_next(services)
    (delivery,) = deliveries(ports)
    assert (delivery.status, delivery.attempts) == (DeliveryStatus.FAILED, 10)
    assert len({sent.headers["webhook-id"] for sent in ports.outgoing.sent}) == 1
    assert len({sent.body for sent in ports.outgoing.sent}) == 1
    (job,) = ports.storage.committed.jobs.values()
    assert (job.state, job.error) == ("failed", "the answer was 500")


async def test_a_receiver_that_is_gone_switches_its_webhook_off(
    ports: FakePorts, services: Services, webhooks: WebhookService, admin: User
) -> None:
    webhook, _ = await webhooks.create(admin, URL, (EventName.USER_RENAMED,))
    await happen(ports)
    await happen(ports)
    ports.outgoing.status = 410

    await do_all(services)

    assert len(ports.outgoing.sent) == 1
    assert not (await webhooks.webhook(admin, webhook.id)).active
    assert [it.status for it in deliveries(ports)] == [DeliveryStatus.FAILED] * 2
    names = [entry.event.name for entry in ports.storage.committed.events]
    assert names[-1] == "webhook_switched_off"


async def test_a_delivery_can_be_asked_for_again(
    ports: FakePorts, services: Services, webhooks: WebhookService, admin: User
) -> None:
    webhook, _ = await webhooks.create(admin, URL, (EventName.USER_RENAMED,))
    await happen(ports)
    ports.outgoing.status = None
    await do_all(services)
    ports.outgoing.status = 200

    again = await webhooks.again(admin, webhook.id, deliveries(ports)[0].id)
    assert again.status is DeliveryStatus.WAITING
    assert await do_next(services)

    ports.clock.advance(timedelta(days=3))
    await do_all(services)
    assert len(ports.outgoing.sent) == 1, "the job of the first round does nothing"
    assert deliveries(ports)[0].status is DeliveryStatus.DELIVERED
    other, _ = await webhooks.create(admin, URL, (EventName.ROLE_CHANGED,))
    with pytest.raises(DeliveryNotFound):
        await webhooks.again(admin, other.id, again.id)


async def test_a_test_is_sent_to_a_webhook_that_is_off(
    ports: FakePorts, services: Services, webhooks: WebhookService, admin: User
) -> None:
    webhook, secret = await webhooks.create(admin, URL, ANY)
    await do_all(services)
    await webhooks.change(admin, webhook.id, WebhookChange(active=False))
    ports.outgoing.sent.clear()

    await webhooks.test(admin, webhook.id)
    await do_all(services)

    (sent,) = ports.outgoing.sent
    assert verified(sent, secret)["type"] == "webhook_test"


async def test_deliveries_to_a_webhook_that_was_deleted_end(
    ports: FakePorts, services: Services, webhooks: WebhookService, admin: User
) -> None:
    webhook, _ = await webhooks.create(admin, URL, (EventName.USER_RENAMED,))
    await happen(ports)
    await webhooks.delete(admin, webhook.id)

    await do_all(services)

    assert ports.outgoing.sent == []
    assert ports.storage.committed.jobs == {}
    assert deliveries(ports) == []


async def test_an_address_that_is_not_public_is_refused_when_stored_and_when_sent(
    ports: FakePorts, services: Services, webhooks: WebhookService, admin: User
) -> None:
    with pytest.raises(NotAPublicAddress):
        await webhooks.create(admin, "https://localhost/", ANY)
    webhook, _ = await webhooks.create(admin, URL, (EventName.USER_RENAMED,))
    with pytest.raises(NotAPublicAddress):
        await webhooks.change(admin, webhook.id, WebhookChange(url="https://localhost/"))
    ports.outgoing.private.add("example.com")
    await happen(ports)

    await do_all(services)

    assert ports.outgoing.sent == []
    (job,) = ports.storage.committed.jobs.values()
    assert job.error == NotAPublicAddress.detail


def test_the_worker_sends_deliveries(services: Services) -> None:
    worker: Worker = worker_of(services)

    assert {"deliver_webhook", "send_to_webhooks"} <= set(worker._kinds.names)
