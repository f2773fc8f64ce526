"""Webhooks: what admins do with them."""

import secrets
from dataclasses import dataclass
from datetime import datetime

from application.deliveries import delivery_job, secret_context
from application.errors import raises
from application.ports.outgoing import Outgoing
from application.ports.storage import UnitOfWork
from application.ports.webhooks import Deliveries, WebhookList, Webhooks
from application.services import Ports
from domain.events import Event
from domain.pages import InvalidCursor, Page
from domain.policies import AdminsOnly, is_admin
from domain.users import User
from domain.webhooks import (
    TEST,
    Delivery,
    DeliveryId,
    DeliveryNotFound,
    EventName,
    NewDelivery,
    NewWebhook,
    Webhook,
    WebhookId,
    WebhookNotFound,
    message,
    secret_text,
)

SECRET_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookChange:
    """None keeps what there is."""

    url: str | None = None
    events: tuple[EventName, ...] | None = None
    active: bool | None = None


class WebhookService:
    """Every method raises `AdminsOnly` if `admin` is none, and `WebhookNotFound`."""

    def __init__(self, ports: Ports) -> None:
        self._list = ports.queries.of(WebhookList)
        self._storage = ports.storage
        self._outgoing = ports.outgoing
        self._sealer = ports.sealer
        self._clock = ports.clock

    @raises(AdminsOnly, Outgoing.check_url)
    async def create(
        self, admin: User, url: str, events: tuple[EventName, ...]
    ) -> tuple[Webhook, str]:
        """The webhook and its secret. Raises as `Outgoing.check_url` does."""
        _allow(admin)
        await self._outgoing.check_url(url)
        now, secret = self._clock(), secret_text(secrets.token_bytes(SECRET_BYTES))

        async def work(uow: UnitOfWork) -> Webhook:
            webhooks = uow.of(Webhooks)
            webhook = await webhooks.add(NewWebhook(url=url, events=events, created_at=now))
            webhook.sealed_secret = self._sealer.seal(secret, secret_context(webhook))
            await webhooks.save(webhook)
            _record(uow, "webhook_created", webhook, admin, self._clock())
            await uow.commit()
            return webhook

        return await self._storage.run(work), secret

    @raises(AdminsOnly)
    async def webhooks(self, admin: User) -> list[Webhook]:
        """All webhooks, oldest first."""
        _allow(admin)
        return await self._list.webhooks()

    @raises(AdminsOnly, WebhookNotFound)
    async def webhook(self, admin: User, webhook_id: WebhookId) -> Webhook:
        _allow(admin)
        webhook = await self._list.webhook(webhook_id)
        if webhook is None:
            raise WebhookNotFound(webhook_id)
        return webhook

    @raises(AdminsOnly, WebhookNotFound, Outgoing.check_url)
    async def change(self, admin: User, webhook_id: WebhookId, change: WebhookChange) -> Webhook:
        """Raises as `Outgoing.check_url` does for another url."""
        await self.webhook(admin, webhook_id)
        if change.url is not None:
            await self._outgoing.check_url(change.url)

        async def work(uow: UnitOfWork) -> Webhook:
            webhook = await _locked(uow, webhook_id)
            webhook.url = change.url or webhook.url
            webhook.events = change.events or webhook.events
            webhook.active = webhook.active if change.active is None else change.active
            await uow.of(Webhooks).save(webhook)
            _record(uow, "webhook_changed", webhook, admin, self._clock())
            await uow.commit()
            return webhook

        return await self._storage.run(work)

    @raises(AdminsOnly, WebhookNotFound)
    async def delete(self, admin: User, webhook_id: WebhookId) -> None:
        _allow(admin)

        async def work(uow: UnitOfWork) -> None:
            webhook = await _locked(uow, webhook_id)
            await uow.of(Webhooks).remove(webhook)
            _record(uow, "webhook_deleted", webhook, admin, self._clock())
            await uow.commit()

        await self._storage.run(work)

    @raises(AdminsOnly, WebhookNotFound)
    async def change_secret(self, admin: User, webhook_id: WebhookId) -> tuple[Webhook, str]:
        """The webhook and its new secret. The old one signs as well for a day."""
        _allow(admin)
        now, secret = self._clock(), secret_text(secrets.token_bytes(SECRET_BYTES))

        async def work(uow: UnitOfWork) -> Webhook:
            webhook = await _locked(uow, webhook_id)
            webhook.change_secret(self._sealer.seal(secret, secret_context(webhook)), now)
            await uow.of(Webhooks).save(webhook)
            _record(uow, "webhook_secret_changed", webhook, admin, now)
            await uow.commit()
            return webhook

        return await self._storage.run(work), secret

    @raises(AdminsOnly, WebhookNotFound, InvalidCursor)
    async def deliveries(
        self, admin: User, webhook_id: WebhookId, limit: int, after: tuple[int, ...] | None
    ) -> tuple[Webhook, Page[Delivery]]:
        """A webhook and its deliveries, newest first. Raises `InvalidCursor`."""
        webhook = await self.webhook(admin, webhook_id)
        return webhook, await self._list.deliveries(webhook_id, limit, after)

    @raises(AdminsOnly, WebhookNotFound, DeliveryNotFound)
    async def again(self, admin: User, webhook_id: WebhookId, delivery_id: DeliveryId) -> Delivery:
        """Have a delivery sent again, with the same id and body. Raises `DeliveryNotFound`."""
        webhook = await self.webhook(admin, webhook_id)

        async def work(uow: UnitOfWork) -> Delivery:
            delivery = await uow.of(Deliveries).get(delivery_id)
            if delivery is None or delivery.webhook_id != webhook_id:
                raise DeliveryNotFound(delivery_id)
            delivery.ask_again()
            await uow.of(Deliveries).save(delivery)
            await uow.jobs.add(delivery_job(delivery, webhook, self._clock()))
            await uow.commit()
            return delivery

        return await self._storage.run(work)

    @raises(AdminsOnly, WebhookNotFound)
    async def test(self, admin: User, webhook_id: WebhookId) -> Delivery:
        """Have a message of the type `TEST` sent, whether the webhook is switched on or not."""
        webhook, now = await self.webhook(admin, webhook_id), self._clock()
        new = NewDelivery(
            webhook_id=webhook_id,
            message_id=f"msg_{secrets.token_hex(16)}",
            type=TEST,
            body=message(TEST, now, {"subject": f"webhook:{webhook_id}", "actor_id": admin.id}),
            created_at=now,
        )

        async def work(uow: UnitOfWork) -> Delivery:
            delivery = await uow.of(Deliveries).add(new)
            await uow.jobs.add(delivery_job(delivery, webhook, now))
            await uow.commit()
            return delivery

        return await self._storage.run(work)


async def _locked(uow: UnitOfWork, webhook_id: WebhookId) -> Webhook:
    webhook = await uow.of(Webhooks).get(webhook_id)
    if webhook is None:
        raise WebhookNotFound(webhook_id)
    return webhook


def _record(
    uow: UnitOfWork, name: str, webhook: Webhook, admin: User | None, now: datetime
) -> None:
    actor_id = admin.id if admin else None
    uow.record(Event.of(name, f"webhook:{webhook.id}", actor_id=actor_id, at=now))


def _allow(actor: User) -> None:
    if not is_admin(actor):
        raise AdminsOnly
