"""Introspection, revocation and metadata over HTTP."""

from dataclasses import replace
from typing import Any

import httpx
import pytest

from domain.scopes import TOKEN_SCOPES, Scope
from domain.users import Role
from tests.api.caller import Caller
from tests.api.client import ApiClient, application, client_of, on_one_database, problem_of
from tests.api.expected import Expected, Options, for_admins
from tests.api.provocations import as_a_member, guessing
from tests.fakes.ports import FakePorts, fake_ports
from tests.fakes.tokens import FakeTokens

pytestmark = on_one_database
FORM: Options = {"data": {"token": "x"}}


async def as_text(caller: Caller, name: str) -> httpx.Response:
    return await caller.call(name, person=caller.admin, json={})


async def without_a_token(caller: Caller, name: str) -> httpx.Response:
    return await caller.call(name, person=caller.admin, data={"other": "x"})


async def introspected(caller: Caller, name: str) -> httpx.Response:
    return await caller.call(name, person=caller.admin, data={"token": "x"})


ROUTES = [
    Expected(
        operation="introspect",
        route="POST /introspect",
        statuses=for_admins(200),
        request=FORM,
        refusals={
            200: introspected,
            403: as_a_member,
            415: as_text,
            422: without_a_token,
            429: guessing,
        },
    ),
    Expected(
        operation="revoke",
        route="POST /revoke",
        request=FORM,
        queries=["read"],
        refusals={415: as_text, 422: without_a_token},
    ),
    Expected(
        operation="read_protected_resource", route="GET /.well-known/oauth-protected-resource"
    ),
]


async def introspect(api: ApiClient, token: str, **more: str) -> dict[str, Any]:
    root = await api.person(role=Role.ADMIN)
    script = await api.token(root, Scope.ADMIN)
    form = {"token": token} | more
    answer = await api.client.post("/introspect", data=form, headers=script.headers)
    assert answer.status_code == 200
    assert "no-store" in answer.headers["Cache-Control"]
    found: dict[str, Any] = answer.json()
    return found


async def test_an_active_token_is_described(api: ApiClient) -> None:
    anna = await api.person()
    script = await api.token(anna, Scope.ACCOUNT_READ, Scope.ACCOUNT_WRITE, expires_in=60)

    found = await introspect(api, script.token, token_type_hint="nonsense")

    assert found.pop("exp") - found.pop("iat") == 60
    assert found == {
        "active": True,
        "sub": str(anna.id),
        "scope": "account:read account:write",
        "token_type": "bearer",
        "username": anna.email,
    }
    every = [scope.value for scope in TOKEN_SCOPES if scope is not Scope.ADMIN]
    assert (await introspect(api, anna.token))["scope"] == " ".join(every)
    refresh = await introspect(api, anna.refresh_token)
    assert (refresh["active"], refresh["token_type"]) == (True, "refresh_token")


@pytest.mark.parametrize("token", ["x", "eyJ.x.y", "gp_" + "0" * 49, "ä", "\0"])
async def test_any_other_token_is_inactive_and_nothing_more(api: ApiClient, token: str) -> None:
    assert await introspect(api, token) == {"active": False}


@pytest.mark.parametrize("which", ["token", "refresh_token"])
async def test_whoever_has_a_token_may_revoke_it(api: ApiClient, which: str) -> None:
    anna = await api.person()
    script = await api.token(anna, Scope.ACCOUNT_READ)

    for token in ("unknown", getattr(anna, which), getattr(anna, which)):
        answer = await api.client.post("/revoke", data={"token": token, "token_type_hint": "x"})
        assert (answer.status_code, answer.content) == (200, b"")

    problem_of(await api.me(anna), 401, "invalid_token")
    assert (await api.me(script)).status_code == 200
    await api.client.post("/revoke", data={"token": script.token})
    problem_of(await api.me(script), 401, "invalid_token")


async def test_the_challenge_leads_to_the_metadata_of_the_resource(api: ApiClient) -> None:
    unauthenticated = await api.client.get("/users/me")
    challenge = unauthenticated.headers["WWW-Authenticate"]
    scheme, _, url = challenge.partition(" resource_metadata=")
    assert scheme == "Bearer"

    metadata = (await api.client.get(url.strip('"'))).json()

    assert metadata == {
        "resource": "http://gatepost",
        "scopes_supported": [scope.value for scope in TOKEN_SCOPES],
        "bearer_methods_supported": ["header"],
    }
    bad = await api.client.get("/users/me", headers={"Authorization": "Bearer x"})
    assert bad.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


class OutsideTokens(FakeTokens):
    has_local_login = False
    authorization_servers = ("https://provider.test",)


async def metadata(ports: FakePorts, **options: Any) -> dict[str, Any]:
    async with client_of(application(ports, **options)) as client:
        answer = await client.get("/.well-known/oauth-protected-resource")
    found: dict[str, Any] = answer.json()
    return found


async def test_the_resource_is_the_public_url_whatever_host_is_asked(api: ApiClient) -> None:
    ports = replace(fake_ports(), public_url="https://api.example.org")

    assert (await metadata(ports))["resource"] == "https://api.example.org"
    below = await metadata(ports, root_path="/below")
    assert below["resource"] == "https://api.example.org/below"


async def test_an_outside_provider_is_the_authorization_server(api: ApiClient) -> None:
    ports = replace(fake_ports(), tokens=OutsideTokens())

    assert (await metadata(ports))["authorization_servers"] == ["https://provider.test"]
