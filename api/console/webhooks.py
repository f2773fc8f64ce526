"""Pages of webhooks, for admins."""

from typing import Annotated

from fastapi import Path, Request, Response
from pydantic import BaseModel

from api.console.forms import asked, submitted
from api.console.rendering import go, page
from api.console.routing import admin_pages
from api.dependencies import CurrentUser, UseCases
from api.ids import Id
from api.pages import PageQuery, cursor_after, position
from api.webhooks import WebhookBody, distinct
from application.services import Services
from application.webhooks import WebhookChange, WebhookService
from domain.errors import DomainError
from domain.users import User
from domain.webhooks import DeliveryId, EventName, WebhookId

pages = admin_pages()

WebhookPath = Annotated[Id, Path()]
_EVENTS = [event for event in EventName if event is not EventName.ANY]


class StateEntry(BaseModel):
    active: bool


@pages.get("/console/webhooks")
async def show_webhooks(request: Request, admin: CurrentUser, use_cases: UseCases) -> Response:
    return await _webhooks(request, admin, use_cases)


async def _webhooks(
    request: Request, admin: User, use_cases: Services, error: DomainError | None = None
) -> Response:
    form = await request.form()
    return page(
        request,
        "webhooks.html",
        error=error,
        webhooks=await use_cases.of(WebhookService).webhooks(admin),
        events=_EVENTS,
        url=form.get("url", ""),
        chosen=form.getlist("events"),
    )


@pages.post("/console/webhooks")
async def add_webhook(request: Request, admin: CurrentUser, use_cases: UseCases) -> Response:
    """Shows the secret once, on the page that answers the form."""
    try:
        form = await submitted(request, WebhookBody, lists=["events"])
        events = distinct(form.events)
        webhook, secret = await use_cases.of(WebhookService).create(admin, form.url, events)
    except DomainError as error:
        return await _webhooks(request, admin, use_cases, error)
    return await _webhook(request, webhook.id, admin, use_cases, secret=secret)


@pages.get("/console/webhooks/{webhook_id}")
async def show_webhook(
    webhook_id: WebhookPath, request: Request, admin: CurrentUser, use_cases: UseCases
) -> Response:
    return await _webhook(request, webhook_id, admin, use_cases)


async def _webhook(
    request: Request,
    webhook_id: int,
    admin: User,
    use_cases: Services,
    *,
    error: DomainError | None = None,
    secret: str = "",
) -> Response:
    """The page of the webhook with its deliveries. Raises `WebhookNotFound`."""
    query = asked(request, PageQuery)
    webhook, found = await use_cases.of(WebhookService).deliveries(
        admin, WebhookId(webhook_id), query.limit, position(query, request)
    )
    form = await request.form() if error else None
    is_list = request.method == "GET"  # other addresses have no cursors
    return page(
        request,
        "webhook.html",
        error=error,
        webhook=webhook,
        secret=secret,
        events=_EVENTS,
        url=form.get("url", "") if form else webhook.url,
        chosen=form.getlist("events") if form else webhook.events,
        deliveries=found.items,
        more=cursor_after(found, query, request) if is_list else None,
        is_first=query.after is None,
    )


@pages.post("/console/webhooks/{webhook_id}")
async def change_webhook(
    webhook_id: WebhookPath, request: Request, admin: CurrentUser, use_cases: UseCases
) -> Response:
    try:
        form = await submitted(request, WebhookBody, lists=["events"])
        change = WebhookChange(url=form.url, events=distinct(form.events))
        await use_cases.of(WebhookService).change(admin, WebhookId(webhook_id), change)
    except DomainError as error:
        return await _webhook(request, webhook_id, admin, use_cases, error=error)
    return _back(request, webhook_id, "webhook-saved")


@pages.post("/console/webhooks/{webhook_id}/state")
async def switch_webhook(
    webhook_id: WebhookPath, request: Request, admin: CurrentUser, use_cases: UseCases
) -> Response:
    form = await submitted(request, StateEntry)
    change = WebhookChange(active=form.active)
    await use_cases.of(WebhookService).change(admin, WebhookId(webhook_id), change)
    return _back(request, webhook_id, "webhook-on" if form.active else "webhook-off")


@pages.post("/console/webhooks/{webhook_id}/secret")
async def change_secret(
    webhook_id: WebhookPath, request: Request, admin: CurrentUser, use_cases: UseCases
) -> Response:
    """Shows the new secret once, on the page that answers the form."""
    _, secret = await use_cases.of(WebhookService).change_secret(admin, WebhookId(webhook_id))
    return await _webhook(request, webhook_id, admin, use_cases, secret=secret)


@pages.post("/console/webhooks/{webhook_id}/delete")
async def delete_webhook(
    webhook_id: WebhookPath, request: Request, admin: CurrentUser, use_cases: UseCases
) -> Response:
    await use_cases.of(WebhookService).delete(admin, WebhookId(webhook_id))
    return go(request, "/console/webhooks", done="webhook-deleted")


@pages.post("/console/webhooks/{webhook_id}/test")
async def send_test(
    webhook_id: WebhookPath, request: Request, admin: CurrentUser, use_cases: UseCases
) -> Response:
    await use_cases.of(WebhookService).test(admin, WebhookId(webhook_id))
    return _back(request, webhook_id, "test")


@pages.post("/console/webhooks/{webhook_id}/deliveries/{delivery_id}/again")
async def deliver_again(
    webhook_id: WebhookPath,
    delivery_id: Annotated[Id, Path()],
    request: Request,
    admin: CurrentUser,
    use_cases: UseCases,
) -> Response:
    service = use_cases.of(WebhookService)
    await service.again(admin, WebhookId(webhook_id), DeliveryId(delivery_id))
    return _back(request, webhook_id, "again")


def _back(request: Request, webhook_id: int, done: str) -> Response:
    return go(request, f"/console/webhooks/{webhook_id}", done=done)
