"""Ways to provoke each documented response: each calls an operation by its name."""

import re
from dataclasses import replace
from typing import Any

import httpx

from application.ports.limits import Limit
from domain.personal_tokens import PREFIX
from domain.posts import PostOptions  # posts only
from domain.registrations import RegistrationMode
from domain.scopes import TOKEN_SCOPES
from domain.users import UserId
from tests.api.caller import DOCUMENT, OPERATIONS, Caller, body_name
from tests.api.client import PASSWORD, client_on
from tests.api.expected import Provocation
from tests.fakes.limits import FakeLimits
from tests.fakes.ports import fake_ports

FORMS = ("login", "refresh", "log_browser_in")
HUGE = 2 * 1024 * 1024 + 1


async def succeed(caller: Caller, name: str) -> httpx.Response:
    return await caller.call(name)


async def as_nobody(caller: Caller, name: str) -> httpx.Response:
    return await caller.call(name, headers={"Authorization": "Bearer x"})


async def with_wrong_credentials(caller: Caller, name: str) -> httpx.Response:
    form = {"username": caller.anna.email, "password": "wrong", "refresh_token": "wrong"}
    return await caller.call(name, data=form)


async def from_another_site(caller: Caller, name: str) -> httpx.Response:
    return await caller.call(name, headers={"Sec-Fetch-Site": "cross-site"})


async def with_a_wrong_password(caller: Caller, name: str) -> httpx.Response:
    body = {"email": "new@example.com", "current_password": "wrong", "new_password": PASSWORD}
    members = DOCUMENT["components"]["schemas"][body_name(OPERATIONS[name][2])]["properties"]
    return await caller.call(name, json={k: v for k, v in body.items() if k in members})


async def as_a_member(caller: Caller, name: str) -> httpx.Response:
    return await caller.call(name, person=caller.anna)


async def without_the_scope(caller: Caller, name: str) -> httpx.Response:
    """With a token that has every scope but the one of the operation."""
    ((scheme, needed),) = OPERATIONS[name][2]["security"][0].items()
    assert scheme == "OAuth2PasswordBearer"
    scopes = [scope for scope in TOKEN_SCOPES if scope not in needed]
    return await caller.call(name, person=await caller.api.token(caller.admin, *scopes))


async def on_nobody(caller: Caller, name: str) -> httpx.Response:
    parameters = re.findall(r"{(\w+)}", OPERATIONS[name][1])
    return await caller.call(name, at=dict.fromkeys(parameters, 10**6))


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


async def on_a_draft_of_another(caller: Caller, name: str) -> httpx.Response:  # posts only
    draft = await caller.api.post(await caller.api.person(), published=False)
    return await caller.call(name, at={"post_id": draft["id"]})


async def on_a_post_of_another(caller: Caller, name: str) -> httpx.Response:  # posts only
    post = await caller.api.post(await caller.api.person())
    return await caller.call(name, at={"post_id": post["id"]})


async def on_another_version(caller: Caller, name: str) -> httpx.Response:  # posts only
    return await caller.call(name, headers={"If-Match": '"7-aa"'})


async def with_what_is_known(caller: Caller, name: str) -> httpx.Response:  # posts only
    return await caller.call(name, headers={"If-None-Match": "*"})


async def with_a_huge_body(caller: Caller, name: str) -> httpx.Response:
    (kind, *_) = OPERATIONS[name][2]["requestBody"]["content"]
    return await caller.call(name, content=b"x" * HUGE, headers={"Content-Type": kind})


async def with_another_type(caller: Caller, name: str) -> httpx.Response:
    wrong = "application/json" if name in ("login", "refresh") else "text/plain"
    return await caller.call(name, content=b"{}", headers={"Content-Type": wrong})


async def with_nonsense(caller: Caller, name: str) -> httpx.Response:
    if name in FORMS:
        return await caller.call(name, data={})
    _, path, operation = OPERATIONS[name]
    nonsense: dict[str, object] = dict.fromkeys(re.findall(r"{(\w+)}", path), "x")
    body: dict[str, Any] = {"json": []} if "requestBody" in operation else {}
    return await caller.call(name, at=nonsense, query="?limit=x", **body)


async def with_a_foreign_cursor(caller: Caller, name: str) -> httpx.Response:
    return await caller.call(name, query="?after=x")


async def with_a_bad_key(caller: Caller, name: str) -> httpx.Response:  # posts only
    return await caller.call(name, headers={"Idempotency-Key": "a b"})


async def with_a_key_in_use(caller: Caller, name: str) -> httpx.Response:  # posts only
    async with caller.api.ports.storage() as uow:
        await uow.idempotency.claim(UserId(caller.anna.id), "key", caller.api.clock())
        return await caller.call(name, headers={"Idempotency-Key": "key"})


async def guessing(caller: Caller, name: str) -> httpx.Response:
    """With a made-up personal token, once too often."""
    ports = replace(caller.api.ports, limits=FakeLimits(dict.fromkeys(Limit, 0)))
    async with client_on(ports) as client:
        caller.client = client
        return await caller.call(name, headers={"Authorization": f"Bearer {PREFIX}x"})


async def too_often(caller: Caller, name: str) -> httpx.Response:
    if OPERATIONS[name][0] == "GET":  # which is limited for who guesses tokens alone
        return await guessing(caller, name)
    ports = replace(caller.api.ports, limits=FakeLimits(dict.fromkeys(Limit, 0)))
    async with client_on(ports) as client:
        caller.client = client
        return await caller.call(name)


def with_registration(mode: RegistrationMode) -> Provocation:
    async def provoke(caller: Caller, name: str) -> httpx.Response:
        ports = replace(caller.api.ports, registration=mode)
        async with client_on(ports) as client:
            caller.client = client
            return await caller.call(name)

    return provoke


async def over_the_quota(caller: Caller, name: str) -> httpx.Response:  # posts only
    ports = replace(caller.api.ports, post_options=PostOptions(per_day=1))
    async with client_on(ports) as client:
        caller.client = client
        await caller.call(name)
        return await caller.call(name)


async def without_a_database(caller: Caller, name: str) -> httpx.Response:
    fakes = fake_ports()
    fakes.storage.down.append("database")
    ports = replace(caller.api.ports, queries=fakes.queries, storage=fakes.storage)
    async with client_on(ports) as client:
        caller.client = client
        parameters = re.findall(r"{(\w+)}", OPERATIONS[name][1])
        return await caller.call(name, at=dict.fromkeys(parameters, 1))
