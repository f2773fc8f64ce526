"""Webhooks and deliveries: rows, repositories and lists."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Index, bindparam, select, update
from sqlmodel import Field

from application.ports.webhooks import Deliveries, WebhookList, Webhooks
from domain.pages import InvalidCursor, Page
from domain.webhooks import Delivery, DeliveryId, EventName, Webhook, WebhookId
from infrastructure.database.driver.mapping import Mapping, Repository
from infrastructure.database.driver.rows import (
    BigId,
    Row,
    Words,
    primary_key,
    reference,
    timestamp_column,
)
from infrastructure.database.driver.statements import Database


class WebhookRow(Row, table=True):
    __tablename__ = "webhooks"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: int | None = primary_key()
    url: str
    events: Any = Field(sa_type=Words(EventName))
    active: bool
    created_at: datetime = timestamp_column()
    sealed_secret: str
    sealed_old_secret: str | None
    old_secret_until: datetime | None = timestamp_column(nullable=True)


class DeliveryRow(Row, table=True):
    __tablename__ = "deliveries"
    __table_args__ = (
        Index("ix_deliveries_webhook_id_id", "webhook_id", "id"),
        {"sqlite_autoincrement": True},
    )

    id: int | None = primary_key()
    webhook_id: int = reference("webhooks.id")
    message_id: str
    type: str
    body: str
    status: str
    attempts: int
    status_code: int | None
    created_at: datetime = timestamp_column()
    round: int


WEBHOOK = Mapping(WebhookRow, Webhook)
WEBHOOKS = WEBHOOK.table
DELIVERY = Mapping(DeliveryRow, Delivery)
DELIVERIES = DELIVERY.table

_ALL = select(*WEBHOOK.columns).order_by(WEBHOOKS.c.id)
_ACTIVE = _ALL.where(WEBHOOKS.c.active)
_WEBHOOK = select(*WEBHOOK.columns).where(WEBHOOKS.c.id == bindparam("id"))
_DELIVERY = (
    select(*DELIVERY.columns, *WEBHOOK.columns)
    .join_from(DELIVERIES, WEBHOOKS)
    .where(DELIVERIES.c.id == bindparam("id"))
)
_NOTE = (
    update(DELIVERIES)
    .values({name: bindparam(name) for name in ("status", "attempts", "status_code")})
    .where(
        DELIVERIES.c.id == bindparam("key_id", type_=BigId),
        DELIVERIES.c.round == bindparam("key_round"),
    )
)
_NEWEST = (
    select(*DELIVERY.columns)
    .where(
        DELIVERIES.c.webhook_id == bindparam("webhook_id"), DELIVERIES.c.id < bindparam("before")
    )
    .order_by(DELIVERIES.c.id.desc())
    .limit(bindparam("limit", type_=BigId))
)
_NO_ID_IS_HIGHER = 2**63 - 1


class SqlWebhooks(Repository[Webhook], Webhooks):
    mapping = WEBHOOK

    async def active(self) -> Sequence[Webhook]:
        return [WEBHOOK.of(record) for record in await self._transaction.fetch(_ACTIVE)]


class SqlDeliveries(Repository[Delivery], Deliveries):
    mapping = DELIVERY

    async def note(self, delivery: Delivery) -> None:
        self._transaction.defer(
            _NOTE,
            key_id=delivery.id,
            key_round=delivery.round,
            status=delivery.status.value,
            attempts=delivery.attempts,
            status_code=delivery.status_code,
        )


class SqlWebhookList(WebhookList):
    def __init__(self, database: Database) -> None:
        self._database = database

    async def webhooks(self) -> list[Webhook]:
        return [WEBHOOK.of(record) for record in await self._database.fetch_long(_ALL)]

    async def webhook(self, webhook_id: WebhookId) -> Webhook | None:
        records = await self._database.fetch(_WEBHOOK, id=webhook_id)
        return WEBHOOK.of(records[0]) if records else None

    async def delivery(self, delivery_id: DeliveryId) -> tuple[Delivery, Webhook] | None:
        records = await self._database.fetch(_DELIVERY, id=delivery_id)
        if not records:
            return None
        return DELIVERY.of(records[0]), WEBHOOK.of(records[0][len(DELIVERY.columns) :])

    async def deliveries(
        self, webhook_id: WebhookId, limit: int, after: tuple[int, ...] | None
    ) -> Page[Delivery]:
        if after is not None and len(after) != 1:
            raise InvalidCursor
        before = after[0] if after else _NO_ID_IS_HIGHER
        records = await self._database.fetch_long(
            _NEWEST, webhook_id=webhook_id, before=before, limit=limit + 1
        )
        items = [DELIVERY.of(record) for record in records[:limit]]
        return Page(items, next=(items[-1].id,) if len(records) > limit else None)
