"""Webhooks, for admins: their subscriptions to events, and their deliveries."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api.dependencies import CurrentUser, UseCases
from api.ids import Id
from api.pages import LINK, PageQuery, link_next, position
from api.routing import protected_router
from api.users import OMITTABLE
from application.errors import raises
from application.webhooks import WebhookChange, WebhookService
from domain.scopes import Scope
from domain.webhooks import Delivery, DeliveryId, EventName, Webhook, WebhookId

protected = protected_router("webhooks")

Url = Annotated[
    str, StringConstraints(min_length=1, max_length=2000), Field(examples=["https://example.com/"])
]
Events = Annotated[
    list[EventName],
    Field(
        min_length=1,
        max_length=100,
        description="Names as in the audit; `*` is every event",
        examples=[["user_registered"]],
    ),
]
WebhookPath = Annotated[Id, Path()]
DeliveryPath = Annotated[Id, Path()]
_LINKED: dict[int | str, dict[str, Any]] = {200: {"headers": LINK}}


class WebhookBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    url: Url
    events: Events


class WebhookChangeBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    url: Annotated[Url | None, *OMITTABLE] = None
    events: Annotated[Events | None, *OMITTABLE] = None
    active: Annotated[bool | None, Field(strict=True), *OMITTABLE] = None

    def to_change(self) -> WebhookChange:
        return WebhookChange(
            url=self.url,
            events=None if self.events is None else distinct(self.events),
            active=self.active,
        )


class WebhookView(BaseModel):
    id: int = Field(examples=[1])
    url: str = Field(examples=["https://example.com/"])
    events: list[EventName]
    active: bool
    created_at: datetime

    @classmethod
    def of(cls, webhook: Webhook) -> "WebhookView":
        return cls(
            id=webhook.id,
            url=webhook.url,
            events=list(webhook.events),
            active=webhook.active,
            created_at=webhook.created_at,
        )


class NewWebhookView(WebhookView):
    """A webhook with its secret, which is shown once."""

    secret: str = Field(repr=False, examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])

    @classmethod
    def with_secret(cls, webhook: Webhook, secret: str) -> "NewWebhookView":
        return cls(**WebhookView.of(webhook).model_dump(), secret=secret)


class DeliveryView(BaseModel):
    id: int = Field(examples=[1])
    type: str = Field(description="The name of the event", examples=["user_registered"])
    status: Literal["waiting", "delivered", "failed"]
    attempts: int
    status_code: int | None = Field(description="Of the last answer", examples=[204])
    created_at: datetime

    @classmethod
    def of(cls, delivery: Delivery) -> "DeliveryView":
        return cls(
            id=delivery.id,
            type=delivery.type,
            status=delivery.status.value,
            attempts=delivery.attempts,
            status_code=delivery.status_code,
            created_at=delivery.created_at,
        )


def distinct(events: list[EventName]) -> tuple[EventName, ...]:
    return tuple(dict.fromkeys(events))


@protected.post(
    "/webhooks",
    status_code=201,
    scope=Scope.ADMIN,
    summary="Add a webhook",
)
@raises(WebhookService.create)
async def create_webhook(
    body: WebhookBody,
    request: Request,
    response: Response,
    user: CurrentUser,
    use_cases: UseCases,
) -> NewWebhookView:
    service = use_cases.of(WebhookService)
    webhook, secret = await service.create(user, body.url, distinct(body.events))
    response.headers["Cache-Control"] = "no-store"
    root_path = request.scope.get("root_path", "")
    response.headers["Location"] = f"{root_path}/webhooks/{webhook.id}"
    return NewWebhookView.with_secret(webhook, secret)


@protected.get(
    "/webhooks",
    scope=Scope.ADMIN,
    summary="List webhooks",
)
@raises(WebhookService.webhooks)
async def list_webhooks(user: CurrentUser, use_cases: UseCases) -> list[WebhookView]:
    return [WebhookView.of(it) for it in await use_cases.of(WebhookService).webhooks(user)]


@protected.get(
    "/webhooks/{webhook_id}",
    scope=Scope.ADMIN,
    summary="Read a webhook",
)
@raises(WebhookService.webhook)
async def read_webhook(
    webhook_id: WebhookPath, user: CurrentUser, use_cases: UseCases
) -> WebhookView:
    return WebhookView.of(await use_cases.of(WebhookService).webhook(user, WebhookId(webhook_id)))


@protected.patch(
    "/webhooks/{webhook_id}",
    scope=Scope.ADMIN,
    summary="Change a webhook, or switch it on or off",
)
@raises(WebhookService.change)
async def change_webhook(
    webhook_id: WebhookPath, body: WebhookChangeBody, user: CurrentUser, use_cases: UseCases
) -> WebhookView:
    service = use_cases.of(WebhookService)
    return WebhookView.of(await service.change(user, WebhookId(webhook_id), body.to_change()))


@protected.delete(
    "/webhooks/{webhook_id}",
    status_code=204,
    response_class=Response,
    scope=Scope.ADMIN,
    summary="Delete a webhook and its deliveries",
)
@raises(WebhookService.delete)
async def delete_webhook(webhook_id: WebhookPath, user: CurrentUser, use_cases: UseCases) -> None:
    await use_cases.of(WebhookService).delete(user, WebhookId(webhook_id))


@protected.post(
    "/webhooks/{webhook_id}/secret",
    status_code=201,
    scope=Scope.ADMIN,
    summary="Replace a webhook's secret; the old one signs as well for 24 hours",
)
@raises(WebhookService.change_secret)
async def change_webhook_secret(
    webhook_id: WebhookPath, response: Response, user: CurrentUser, use_cases: UseCases
) -> NewWebhookView:
    service = use_cases.of(WebhookService)
    webhook, secret = await service.change_secret(user, WebhookId(webhook_id))
    response.headers["Cache-Control"] = "no-store"
    return NewWebhookView.with_secret(webhook, secret)


@protected.get(
    "/webhooks/{webhook_id}/deliveries",
    scope=Scope.ADMIN,
    summary="List a webhook's deliveries, newest first",
    responses=_LINKED,
)
@raises(WebhookService.deliveries)
async def list_deliveries(
    webhook_id: WebhookPath,
    query: Annotated[PageQuery, Query()],
    request: Request,
    response: Response,
    user: CurrentUser,
    use_cases: UseCases,
) -> list[DeliveryView]:
    _, page = await use_cases.of(WebhookService).deliveries(
        user, WebhookId(webhook_id), query.limit, position(query, request)
    )
    link_next(page, query, request, response)
    return [DeliveryView.of(item) for item in page.items]


@protected.post(
    "/webhooks/{webhook_id}/deliveries/{delivery_id}/again",
    status_code=202,
    scope=Scope.ADMIN,
    summary="Send a delivery again, with the same id and body",
)
@raises(WebhookService.again)
async def deliver_again(
    webhook_id: WebhookPath, delivery_id: DeliveryPath, user: CurrentUser, use_cases: UseCases
) -> DeliveryView:
    service = use_cases.of(WebhookService)
    return DeliveryView.of(
        await service.again(user, WebhookId(webhook_id), DeliveryId(delivery_id))
    )


@protected.post(
    "/webhooks/{webhook_id}/test",
    status_code=202,
    scope=Scope.ADMIN,
    summary="Send a test to a webhook",
)
@raises(WebhookService.test)
async def test_webhook(
    webhook_id: WebhookPath, user: CurrentUser, use_cases: UseCases
) -> DeliveryView:
    return DeliveryView.of(await use_cases.of(WebhookService).test(user, WebhookId(webhook_id)))
