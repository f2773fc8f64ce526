"""What the OpenAPI document says is so: each example is taken, each answer can be had."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from api.app import create_app
from application.ports.limits import Limit
from domain.posts import PostOptions
from domain.users import UserId
from tests.api.caller import DOCUMENT, OPERATIONS, Caller, a_caller, body_name, example
from tests.api.client import PASSWORD, ApiClient, client_of, on_one_database
from tests.api.test_one_time_codes import ask_to_move
from tests.fakes.limits import FakeLimits
from tests.fakes.ports import fake_ports

DOCUMENTED = [
    # PostgreSQL where two transactions of one key must be at work at once.
    ("postgresql" if (name, status) == ("create_post", "409") else "sqlite", name, int(status))
    for name, (_, _, operation) in OPERATIONS.items()
    for status in operation["responses"]
]
HUGE = 2 * 1024 * 1024 + 1


Provocation = Callable[[Caller, str], Awaitable[httpx.Response]]


async def succeed(caller: Caller, name: str) -> httpx.Response:
    return await caller.call(name)


async def as_nobody(caller: Caller, name: str) -> httpx.Response:
    return await caller.call(name, headers={"Authorization": "Bearer x"})


async def with_wrong_credentials(caller: Caller, name: str) -> httpx.Response:
    form = {"username": caller.anna.email, "password": "wrong", "refresh_token": "wrong"}
    return await caller.call(name, data=form)


async def with_a_wrong_password(caller: Caller, name: str) -> httpx.Response:
    body = {"email": "new@example.com", "current_password": "wrong", "new_password": PASSWORD}
    members = DOCUMENT["components"]["schemas"][body_name(OPERATIONS[name][2])]["properties"]
    return await caller.call(name, json={k: v for k, v in body.items() if k in members})


async def as_a_member(caller: Caller, name: str) -> httpx.Response:
    return await caller.call(name, person=caller.anna)


async def on_nobody(caller: Caller, name: str) -> httpx.Response:
    return await caller.call(name, at={"user_id": 10**6, "session_id": 10**6})


async def with_a_taken_address(caller: Caller, name: str) -> httpx.Response:
    body = {"email": caller.admin.email}
    secret = "password" if name == "register" else "current_password"
    return await caller.call(name, json=body | {secret: PASSWORD})


async def as_the_last_admin(caller: Caller, name: str) -> httpx.Response:
    if name == "change_user":
        return await caller.call(name, at={"user_id": caller.admin.id}, json={"role": "member"})
    return await caller.call(name, person=caller.admin)


async def with_a_bad_code(caller: Caller, name: str) -> httpx.Response:
    members = {"token": "x"} | ({"new_password": PASSWORD} if name == "reset_password" else {})
    return await caller.call(name, json=members)


async def with_an_address_taken_meanwhile(caller: Caller, name: str) -> httpx.Response:
    _, confirmation = await ask_to_move(caller.gate, caller.anna, "new@example.com")
    await caller.gate.person("new@example.com")
    return await caller.call(name, json={"token": confirmation})


async def on_a_draft_of_another(caller: Caller, name: str) -> httpx.Response:
    draft = await caller.gate.post(await caller.gate.person(), published=False)
    return await caller.call(name, at={"post_id": draft["id"]})


async def on_a_post_of_another(caller: Caller, name: str) -> httpx.Response:
    post = await caller.gate.post(await caller.gate.person())
    return await caller.call(name, at={"post_id": post["id"]})


async def on_another_version(caller: Caller, name: str) -> httpx.Response:
    return await caller.call(name, headers={"If-Match": '"7-aa"'})


async def with_what_is_known(caller: Caller, name: str) -> httpx.Response:
    return await caller.call(name, headers={"If-None-Match": "*"})


async def with_a_huge_body(caller: Caller, name: str) -> httpx.Response:
    (kind, *_) = OPERATIONS[name][2]["requestBody"]["content"]
    return await caller.call(name, content=b"x" * HUGE, headers={"Content-Type": kind})


async def with_another_type(caller: Caller, name: str) -> httpx.Response:
    wrong = "application/json" if name in ("login", "refresh") else "text/plain"
    return await caller.call(name, content=b"{}", headers={"Content-Type": wrong})


async def with_nonsense(caller: Caller, name: str) -> httpx.Response:
    if name in ("login", "refresh"):
        return await caller.call(name, data={})
    nonsense: dict[str, object] = dict.fromkeys(("post_id", "user_id", "session_id"), "x")
    body: dict[str, Any] = {"json": []} if "requestBody" in OPERATIONS[name][2] else {}
    return await caller.call(name, at=nonsense, query="?limit=x", **body)


async def with_a_foreign_cursor(caller: Caller, name: str) -> httpx.Response:
    return await caller.call(name, query="?after=x")


async def with_a_bad_key(caller: Caller, name: str) -> httpx.Response:
    return await caller.call(name, headers={"Idempotency-Key": "a b"})


async def with_a_key_in_use(caller: Caller, name: str) -> httpx.Response:
    async with caller.gate.ports.storage() as uow:
        await uow.idempotency.claim(UserId(caller.anna.id), "key", caller.gate.clock())
        return await caller.call(name, headers={"Idempotency-Key": "key"})


async def too_often(caller: Caller, name: str) -> httpx.Response:
    ports = replace(caller.gate.ports, limits=FakeLimits(dict.fromkeys(Limit, 0)))
    async with client_of(create_app(ports, cursor_key=b"k" * 32)) as client:
        caller.client = client
        return await caller.call(name)


async def over_the_quota(caller: Caller, name: str) -> httpx.Response:
    ports = replace(caller.gate.ports, post_options=PostOptions(per_day=1))
    async with client_of(create_app(ports, cursor_key=b"k" * 32)) as client:
        caller.client = client
        await caller.call(name)
        return await caller.call(name)


async def without_a_database(caller: Caller, name: str) -> httpx.Response:
    fakes = fake_ports()
    fakes.storage.down.append("database")
    ports = replace(caller.gate.ports, queries=fakes.queries, storage=fakes.storage)
    async with client_of(create_app(ports, cursor_key=b"k" * 32)) as client:
        caller.client = client
        return await caller.call(name, at={"post_id": 1, "session_id": 1})


ON_ALL: dict[int, Provocation] = {
    200: succeed,
    201: succeed,
    202: succeed,
    204: succeed,
    304: with_what_is_known,
    401: as_nobody,
    403: on_a_post_of_another,
    404: on_a_draft_of_another,
    412: on_another_version,
    413: with_a_huge_body,
    415: with_another_type,
    422: with_nonsense,
    429: too_often,
    503: without_a_database,
}
ON_ONE: dict[tuple[str, int], Provocation] = {
    ("login", 401): with_wrong_credentials,
    ("refresh", 401): with_wrong_credentials,
    ("end_session", 404): on_nobody,
    ("register", 409): with_a_taken_address,
    ("edit_current_user", 403): with_a_wrong_password,
    ("edit_current_user", 409): with_a_taken_address,
    ("delete_current_user", 403): with_a_wrong_password,
    ("delete_current_user", 409): as_the_last_admin,
    ("change_password", 403): with_a_wrong_password,
    ("verify", 400): with_a_bad_code,
    ("verify", 409): with_an_address_taken_meanwhile,
    ("undo_email_change", 400): with_a_bad_code,
    ("reset_password", 400): with_a_bad_code,
    ("read_user", 404): on_nobody,
    ("list_users", 400): with_a_foreign_cursor,
    ("list_users", 403): as_a_member,
    ("change_user", 403): as_a_member,
    ("change_user", 404): on_nobody,
    ("change_user", 409): as_the_last_admin,
    ("list_events", 400): with_a_foreign_cursor,
    ("list_events", 403): as_a_member,
    ("list_posts", 400): with_a_foreign_cursor,
    ("create_post", 400): with_a_bad_key,
    ("create_post", 409): with_a_key_in_use,
    ("create_post", 429): over_the_quota,
}


@pytest.mark.parametrize(("database_url", "name", "status"), DOCUMENTED, indirect=["database_url"])
async def test_every_documented_answer_can_be_had_and_is_as_documented(
    gate: ApiClient, name: str, status: int
) -> None:
    caller = await a_caller(gate)
    provoke = ON_ONE.get((name, status)) or ON_ALL[status]

    answer = await provoke(caller, name)

    documented = OPERATIONS[name][2]["responses"][str(status)]
    assert answer.status_code == status, answer.text
    content = answer.headers.get("Content-Type")
    assert ([content] if content else []) == list(documented.get("content", {}))
    optional = {"Link", "Idempotency-Replayed"}
    for header in documented.get("headers", {}).keys() - optional:
        assert header in answer.headers


WITH_EXAMPLES = [
    name for name, (_, _, o) in OPERATIONS.items() if set(o["tags"]) == {"posts"} and example(o)
]


@on_one_database
@pytest.mark.parametrize("name", WITH_EXAMPLES)
async def test_the_example_of_each_request_is_taken_for_what_it_says(
    gate: ApiClient, name: str
) -> None:
    caller = await a_caller(gate)

    answer = await caller.call(name)

    assert answer.is_success
    given = example(OPERATIONS[name][2])
    assert given
    assert answer.json() == answer.json() | given


def test_links_lead_to_operations_by_parameters_that_they_have() -> None:
    links = OPERATIONS["create_post"][2]["responses"]["201"]["links"]

    assert links
    for link in links.values():
        _, path, _ = OPERATIONS[link["operationId"]]
        assert all(f"{{{parameter}}}" in path for parameter in link["parameters"])


@on_one_database
async def test_the_example_of_each_header_is_taken(gate: ApiClient) -> None:
    caller = await a_caller(gate)
    for name, (_, _, operation) in OPERATIONS.items():
        for parameter in operation.get("parameters", []):
            if parameter["in"] == "header":
                for given in parameter["schema"]["examples"]:
                    answer = await caller.call(name, headers={parameter["name"]: given})
                    assert answer.is_success or answer.status_code == 412, name
