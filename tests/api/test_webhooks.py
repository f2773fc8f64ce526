"""Webhooks over HTTP."""

from itertools import count
from typing import Any

import httpx
import pytest

from application.services import Services
from application.webhooks import WebhookService
from domain.users import Role, UserId
from domain.webhooks import EventName, WebhookId
from tests.api.client import ApiClient, Person, on_one_database, problem_of
from tests.api.expected import Expected, for_admins
from tests.api.provocations import as_a_member, on_nobody, with_a_foreign_cursor
from tests.api.test_administration import walk
from tests.fakes.outgoing import FakeOutgoing
from tests.jobs import do_next

URL = "https://example.com/hook"
_NUMBERS = count()
BODY = {"url": URL, "events": ["user_renamed"]}


async def a_webhook(api: ApiClient, _: Person) -> int:
    """The only webhook, which an admin makes if there is none."""
    services: Services = api.app.state.services
    admin = await services.accounts.user(UserId((await api.person(role=Role.ADMIN)).id))
    service = services.of(WebhookService)
    webhooks = await service.webhooks(admin)
    if not webhooks:
        webhooks = [(await service.create(admin, URL, (EventName.USER_RENAMED,)))[0]]
    return webhooks[0].id


async def a_delivery(api: ApiClient, person: Person) -> int:
    services: Services = api.app.state.services
    admin = await services.accounts.user(UserId((await api.person(role=Role.ADMIN)).id))
    webhook_id = WebhookId(await a_webhook(api, person))
    return (await services.of(WebhookService).test(admin, webhook_id)).id


IDS = {"webhook_id": a_webhook, "delivery_id": a_delivery}
_MISSING = {403: as_a_member, 404: on_nobody}

ROUTES = [
    Expected(
        operation="create_webhook",
        route="POST /webhooks",
        statuses=for_admins(201),
        request={"json": BODY},
        refusals={403: as_a_member},
    ),
    Expected(
        operation="list_webhooks",
        route="GET /webhooks",
        statuses=for_admins(200),
        refusals={403: as_a_member},
    ),
    Expected(
        operation="read_webhook",
        route="GET /webhooks/{webhook_id}",
        statuses=for_admins(200),
        refusals=_MISSING,
    ),
    Expected(
        operation="change_webhook",
        route="PATCH /webhooks/{webhook_id}",
        statuses=for_admins(200),
        request={"json": {"active": True}},
        refusals=_MISSING,
    ),
    Expected(
        operation="delete_webhook",
        route="DELETE /webhooks/{webhook_id}",
        statuses=for_admins(204),
        refusals=_MISSING,
    ),
    Expected(
        operation="change_webhook_secret",
        route="POST /webhooks/{webhook_id}/secret",
        statuses=for_admins(201),
        refusals=_MISSING,
    ),
    Expected(
        operation="list_deliveries",
        route="GET /webhooks/{webhook_id}/deliveries",
        statuses=for_admins(200),
        refusals=_MISSING | {400: with_a_foreign_cursor},
    ),
    Expected(
        operation="deliver_again",
        route="POST /webhooks/{webhook_id}/deliveries/{delivery_id}/again",
        statuses=for_admins(202),
        refusals=_MISSING,
    ),
    Expected(
        operation="test_webhook",
        route="POST /webhooks/{webhook_id}/test",
        statuses=for_admins(202),
        refusals=_MISSING,
    ),
]


@pytest.fixture
async def admin(api: ApiClient) -> Person:
    return await api.person(role=Role.ADMIN)


def outgoing_of(api: ApiClient) -> FakeOutgoing:
    outgoing = api.ports.outgoing
    assert isinstance(outgoing, FakeOutgoing)
    return outgoing


async def create(api: ApiClient, admin: Person, **members: Any) -> dict[str, Any]:
    answer = await api.client.post("/webhooks", json=BODY | members, headers=admin.headers)
    assert answer.status_code == 201, answer.text
    webhook: dict[str, Any] = answer.json()
    assert answer.headers["Location"] == f"/webhooks/{webhook['id']}"
    assert answer.headers["Cache-Control"] == "no-store"
    return webhook


async def do_all(api: ApiClient) -> None:
    while await do_next(api.app.state.services):
        pass


async def test_a_webhook_shows_its_secret_once(api: ApiClient, admin: Person) -> None:
    made = await create(api, admin, events=["user_renamed", "*", "user_renamed"])
    secret = made.pop("secret")
    assert secret.startswith("whsec_")
    assert made == {
        "id": made["id"],
        "url": URL,
        "events": ["user_renamed", "*"],
        "active": True,
        "created_at": made["created_at"],
    }
    path = f"/webhooks/{made['id']}"

    listed = await api.client.get("/webhooks", headers=admin.headers)
    read = await api.client.get(path, headers=admin.headers)
    assert (listed.json(), read.json()) == ([made], made)

    again = await api.client.post(f"{path}/secret", headers=admin.headers)
    assert again.json()["secret"] != secret
    assert again.headers["Cache-Control"] == "no-store"


async def test_a_webhook_is_changed_and_deleted(api: ApiClient, admin: Person) -> None:
    made = await create(api, admin)
    path = f"/webhooks/{made['id']}"
    for change in ({"active": False}, {"url": "https://example.org/"}, {"events": ["*"]}, {}):
        answer = await api.client.patch(path, json=change, headers=admin.headers)
        assert answer.status_code == 200
        assert answer.json() == answer.json() | change
    assert (await api.client.get(path, headers=admin.headers)).json()["active"] is False

    assert (await api.client.delete(path, headers=admin.headers)).status_code == 204
    answer = await api.client.get(path, headers=admin.headers)
    problem_of(answer, 404, "webhook_not_found")


async def rename(api: ApiClient, person: Person) -> None:
    """Cause an event; each name is another one."""
    name = f"Name {next(_NUMBERS)}"
    answer = await api.client.patch("/users/me", json={"name": name}, headers=person.headers)
    assert answer.status_code == 200


async def test_events_are_delivered_and_listed_newest_first(api: ApiClient, admin: Person) -> None:
    made = await create(api, admin, events=["user_renamed", "role_changed"])
    path = f"/webhooks/{made['id']}"
    anna = await api.person()
    await rename(api, admin)
    for change in ({"role": "moderator"}, {"is_active": False}):
        answer = await api.client.patch(f"/users/{anna.id}", json=change, headers=admin.headers)
        assert answer.status_code == 200
    await do_all(api)
    tested = await api.client.post(f"{path}/test", headers=admin.headers)
    assert (tested.status_code, tested.json()["type"]) == (202, "webhook_test")

    listed = await walk(api, f"{path}/deliveries?limit=1", admin)

    assert [(it["type"], it["status"], it["attempts"], it["status_code"]) for it in listed] == [
        ("webhook_test", "waiting", 0, None),
        ("role_changed", "delivered", 1, 204),
        ("user_renamed", "delivered", 1, 204),
    ]
    assert set(listed[0]) == {"id", "type", "status", "attempts", "status_code", "created_at"}
    first = outgoing_of(api).sent[0]
    answer = await api.client.post(
        f"{path}/deliveries/{listed[2]['id']}/again", headers=admin.headers
    )
    assert (answer.status_code, answer.json()["status"]) == (202, "waiting")
    await do_all(api)
    (again,) = [it for it in outgoing_of(api).sent[2:] if it.body == first.body]
    assert again.headers["webhook-id"] == first.headers["webhook-id"]


async def test_an_event_of_a_moment_after_the_webhook_is_delivered(
    api: ApiClient, admin: Person
) -> None:
    await rename(api, admin)
    await create(api, admin)
    await do_all(api)
    assert outgoing_of(api).sent == []

    await rename(api, admin)
    await do_all(api)

    assert len(outgoing_of(api).sent) == 1


@on_one_database
@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"url": "https://localhost/"}, "not_a_public_address"),
        ({"url": ""}, "validation_failed"),
        ({"url": None}, "validation_failed"),
        ({"url": "https://example.com/" + "a" * 2000}, "validation_failed"),
        ({"events": []}, "validation_failed"),
        ({"events": ["nonsense"]}, "validation_failed"),
        ({"events": "*"}, "validation_failed"),
        ({"events": ["*"] * 101}, "validation_failed"),
        ({"secret": "whsec_mine"}, "validation_failed"),
    ],
)
async def test_a_webhook_that_cannot_be_is_refused(
    api: ApiClient, admin: Person, members: dict[str, Any], code: str
) -> None:
    answer = await api.client.post("/webhooks", json=BODY | members, headers=admin.headers)
    problem_of(answer, 422, code)

    if members.keys() <= {"url", "events"}:
        made = await create(api, admin)
        path = f"/webhooks/{made['id']}"
        problem_of(await api.client.patch(path, json=members, headers=admin.headers), 422, code)


@on_one_database
async def test_a_delivery_is_found_at_its_own_webhook_alone(api: ApiClient, admin: Person) -> None:
    mine, other = await create(api, admin), await create(api, admin)
    tested = await api.client.post(f"/webhooks/{mine['id']}/test", headers=admin.headers)

    async def again(webhook_id: int, delivery_id: int) -> httpx.Response:
        path = f"/webhooks/{webhook_id}/deliveries/{delivery_id}/again"
        return await api.client.post(path, headers=admin.headers)

    problem_of(await again(other["id"], tested.json()["id"]), 404, "delivery_not_found")
    problem_of(await again(mine["id"], 10**6), 404, "delivery_not_found")
    assert (await again(mine["id"], tested.json()["id"])).status_code == 202
