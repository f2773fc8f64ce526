"""Webhooks: who may have them."""

import pytest

from application.services import Services
from application.webhooks import WebhookChange, WebhookService
from domain.policies import AdminsOnly
from domain.users import Role
from domain.webhooks import EventName, WebhookId, WebhookNotFound
from tests.factories import UserDraftFactory

URL = "https://example.com/hook"
ANY = (EventName.ANY,)


async def test_only_admins_have_webhooks(services: Services) -> None:
    webhooks = services.of(WebhookService)
    member, admin = [
        await services.accounts.register(UserDraftFactory.build(), "correct horse", role)
        for role in (Role.MEMBER, Role.ADMIN)
    ]
    webhook, _ = await webhooks.create(admin, URL, ANY)
    for refused in (
        webhooks.create(member, URL, ANY),
        webhooks.webhooks(member),
        webhooks.webhook(member, webhook.id),
        webhooks.change(member, webhook.id, WebhookChange()),
        webhooks.delete(member, webhook.id),
        webhooks.change_secret(member, webhook.id),
        webhooks.deliveries(member, webhook.id, 20, None),
        webhooks.test(member, webhook.id),
    ):
        with pytest.raises(AdminsOnly):
            await refused
    with pytest.raises(WebhookNotFound):
        await webhooks.webhook(admin, WebhookId(4711))
