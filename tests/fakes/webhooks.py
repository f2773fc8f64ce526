from collections.abc import Sequence
from copy import deepcopy

from application.ports.webhooks import Deliveries, WebhookList, Webhooks
from domain.pages import InvalidCursor, Page
from domain.webhooks import Delivery, DeliveryId, Webhook, WebhookId
from tests.fakes.storage import FakeRepository, FakeStorage, State


class FakeWebhooks(FakeRepository[Webhook], Webhooks):
    kind = Webhook

    async def active(self) -> Sequence[Webhook]:
        webhooks = (await self._uow.state()).rows(Webhook).values()
        return [deepcopy(webhook) for webhook in webhooks if webhook.active]


class FakeDeliveries(FakeRepository[Delivery], Deliveries):
    kind = Delivery

    async def note(self, delivery: Delivery) -> None:
        noted = deepcopy(delivery)

        def change(state: State) -> None:
            stored = state.rows(Delivery).get(noted.id)
            if stored is not None and stored.round == noted.round:
                state.put(noted.id, noted)

        self._uow.defer(change)


class FakeWebhookList(WebhookList):
    def __init__(self, storage: FakeStorage) -> None:
        self._storage = storage

    async def webhooks(self) -> list[Webhook]:
        return deepcopy(list((await self._storage.read()).rows(Webhook).values()))

    async def webhook(self, webhook_id: WebhookId) -> Webhook | None:
        return deepcopy((await self._storage.read()).rows(Webhook).get(webhook_id))

    async def delivery(self, delivery_id: DeliveryId) -> tuple[Delivery, Webhook] | None:
        state = await self._storage.read()
        found = state.rows(Delivery).get(delivery_id)
        return None if found is None else deepcopy((found, state.rows(Webhook)[found.webhook_id]))

    async def deliveries(
        self, webhook_id: WebhookId, limit: int, after: tuple[int, ...] | None
    ) -> Page[Delivery]:
        if after is not None and len(after) != 1:
            raise InvalidCursor
        rows = (await self._storage.read()).rows(Delivery).values()
        own = [row for row in rows if row.webhook_id == webhook_id]
        own = [row for row in own if after is None or row.id < after[0]][::-1]
        items = deepcopy(own[:limit])
        return Page(items, next=(items[-1].id,) if len(own) > limit else None)
