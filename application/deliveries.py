"""Deliveries: how events get to webhooks, as jobs."""

from datetime import datetime
from urllib.parse import urlsplit

from application.jobs import Kind
from application.ports.jobs import FailedForNow, Job, NeverSucceeds, NewJob
from application.ports.outgoing import NotAnswered
from application.ports.storage import UnitOfWork
from application.ports.webhooks import Deliveries, WebhookList, Webhooks
from application.services import Ports, Services
from domain.events import Event, Happened
from domain.webhooks import (
    ATTEMPTS_MAX,
    GONE,
    TEST,
    Delivery,
    DeliveryId,
    DeliveryStatus,
    Webhook,
    WebhookId,
    delivery_of,
    pause_after,
    signature,
)

DELIVER = "deliver_webhook"


async def send_to_webhooks(happened: Happened, uow: UnitOfWork) -> None:
    """The reaction to every event: a delivery for each active webhook that subscribes to it."""
    for webhook in await uow.of(Webhooks).active():
        if webhook.is_told_of(happened.event.name):
            delivery = await uow.of(Deliveries).add(delivery_of(happened, webhook))
            await uow.jobs.add(delivery_job(delivery, webhook, happened.event.at))


async def deliver(services: Services, job: Job) -> None:
    """Send a delivery, and note its answer.

    At least once: a process that dies between the answer and the note leaves the job to another
    one, which sends the same id and body.
    """
    ports = services.ports
    found = await _to_send(ports.queries.of(WebhookList), job)
    if found is None:
        return
    delivery, webhook = found
    is_off = not webhook.active and delivery.type != TEST
    status = None
    problem = "the webhook is switched off"
    if not is_off:
        headers = _headers(ports, delivery, webhook)
        try:
            status = await ports.outgoing.post(webhook.url, headers, delivery.body.encode())
            problem = f"the answer was {status}"
        except NotAnswered as error:
            problem = str(error)
    is_last = is_off or job.attempts >= ATTEMPTS_MAX

    delivery.attempted(status, is_last=is_last)

    async def work(uow: UnitOfWork) -> None:
        await uow.of(Deliveries).note(delivery)
        if status == GONE:
            await _switch_off(uow, webhook.id, ports.clock())
        await uow.commit()

    await ports.storage.run(work)
    if delivery.status is DeliveryStatus.DELIVERED:
        return
    if await _to_send(ports.queries.of(WebhookList), job) is None:
        return  # deleted meanwhile, or asked for again
    if delivery.status is DeliveryStatus.FAILED:
        raise NeverSucceeds(problem)
    raise FailedForNow(problem)


JOBS = (
    Kind(
        name=DELIVER,
        work=deliver,
        at_once=48,
        per_lane=4,
        attempts=ATTEMPTS_MAX,
        pause=pause_after,
    ),
)


async def _to_send(listed: WebhookList, job: Job) -> tuple[Delivery, Webhook] | None:
    """What a job is to send; None if it is gone, or another job sends it."""
    found = await listed.delivery(DeliveryId(job.payload["delivery_id"]))
    return found if found and found[0].round == job.payload["round"] else None


def _headers(ports: Ports, delivery: Delivery, webhook: Webhook) -> dict[str, str]:
    now, context = ports.clock(), secret_context(webhook)
    opened = [ports.sealer.open(sealed, context) for sealed in webhook.sealed_secrets(now)]
    if opened[0] is None:
        raise FailedForNow("its secret was sealed with another SECRET_KEY")
    return {
        "Content-Type": "application/json",
        "User-Agent": "Gatepost",
        "webhook-id": delivery.message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(
            signature(secret, delivery.message_id, now, delivery.body)
            for secret in opened
            if secret is not None
        ),
    }


def delivery_job(delivery: Delivery, webhook: Webhook, now: datetime) -> NewJob:
    return NewJob(
        kind=DELIVER,
        payload={"delivery_id": delivery.id, "round": delivery.round},
        due_at=now,
        lane=f"{DELIVER} {urlsplit(webhook.url).hostname}",
    )


async def _switch_off(uow: UnitOfWork, webhook_id: WebhookId, now: datetime) -> None:
    webhook = await uow.of(Webhooks).get(webhook_id)
    if webhook is None:
        return
    webhook.active = False
    await uow.of(Webhooks).save(webhook)
    event = Event.of("webhook_switched_off", f"webhook:{webhook_id}", actor_id=None, at=now)
    uow.record(event)


def secret_context(webhook: Webhook) -> str:
    return f"secret of webhook:{webhook.id}"
