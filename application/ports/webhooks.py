"""Webhooks and their deliveries, as ports."""

from collections.abc import Sequence
from typing import Protocol

from domain.pages import Page
from domain.webhooks import Delivery, DeliveryId, NewDelivery, NewWebhook, Webhook, WebhookId


class Webhooks(Protocol):
    async def add(self, new: NewWebhook) -> Webhook: ...

    async def get(self, id_: int) -> Webhook | None:
        """The webhook, locked for other units of work until this one ends."""
        ...

    async def save(self, entity: Webhook) -> None: ...

    async def remove(self, entity: Webhook) -> None:
        """Remove the webhook and its deliveries."""
        ...

    async def active(self) -> Sequence[Webhook]:
        """The webhooks that are switched on, oldest first."""
        ...


class Deliveries(Protocol):
    async def add(self, new: NewDelivery) -> Delivery:
        """The commit raises `AlreadyGone` if the webhook was deleted."""
        ...

    async def get(self, id_: int) -> Delivery | None:
        """The delivery, locked for other units of work until this one ends."""
        ...

    async def save(self, entity: Delivery) -> None: ...

    async def note(self, delivery: Delivery) -> None:
        """Store `status`, `attempts` and `status_code` with the commit, unless the delivery was
        deleted or asked for again.
        """
        ...


class WebhookList(Protocol):
    async def webhooks(self) -> list[Webhook]:
        """All webhooks, oldest first."""
        ...

    async def webhook(self, webhook_id: WebhookId) -> Webhook | None: ...

    async def delivery(self, delivery_id: DeliveryId) -> tuple[Delivery, Webhook] | None: ...

    async def deliveries(
        self, webhook_id: WebhookId, limit: int, after: tuple[int, ...] | None
    ) -> Page[Delivery]:
        """Deliveries to a webhook, newest first. Raises `InvalidCursor` for a malformed key."""
        ...
