"""Personal tokens over HTTP, on both databases."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from application.ports.limits import Limit
from domain.personal_tokens import TOKENS_MAX, is_well_formed, token_hash, token_of
from domain.scopes import TOKEN_SCOPES, Scope
from domain.users import Role
from infrastructure.database.personal_tokens import PERSONAL_TOKENS
from tests.api.caller import Caller
from tests.api.client import ApiClient, Person, on_one_database, open_gate, problem_of
from tests.api.expected import AUTH, Expected, allowed, for_admins
from tests.api.provocations import as_a_member, on_nobody
from tests.fakes.limits import FakeLimits

BODY = {"name": "nightly backup", "scopes": ["account:read"]}
UNKNOWN = token_of(7)
MADE_UP = UNKNOWN[:-1] + "x"


async def over_fifty(caller: Caller, name: str) -> httpx.Response:
    for _ in range(TOKENS_MAX):
        await caller.call(name)
    return await caller.call(name)


async def token_id(api: ApiClient, owner: Person) -> object:
    answer = await api.client.post("/tokens", json=BODY, headers=owner.headers)
    return answer.json()["id"]


IDS = {"token_id": token_id}
ROUTES = [
    Expected(
        operation="create_token",
        route="POST /tokens",
        statuses=allowed(201),
        request={"json": BODY},
        queries=[*AUTH, "change", "change", "add", "commit"],
        refusals={409: over_fifty},
    ),
    Expected(
        operation="list_tokens",
        route="GET /tokens",
        statuses=allowed(200),
        queries=[*AUTH, "list"],
    ),
    Expected(
        operation="delete_token",
        route="DELETE /tokens/{token_id}",
        statuses=(401, 404, 204, 404, 404, 401),
        queries=[*AUTH, "change", "commit"],
        refusals={404: on_nobody},
    ),
    Expected(
        operation="list_tokens_of_user",
        route="GET /users/{user_id}/tokens",
        statuses=for_admins(200),
        refusals={403: as_a_member, 404: on_nobody},
    ),
    Expected(
        operation="delete_tokens_of_user",
        route="DELETE /users/{user_id}/tokens",
        statuses=for_admins(204),
        refusals={403: as_a_member, 404: on_nobody},
    ),
]


def bearer(token: str) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def status(api: ApiClient, token: str, path: str = "/users/me") -> int:
    return (await api.client.get(path, headers=bearer(token))).status_code


async def test_a_token_is_shown_once_and_stored_as_a_hash(api: ApiClient) -> None:
    anna = await api.person()

    made = await api.client.post("/tokens", json=BODY, headers=anna.headers)

    assert made.status_code == 201
    assert "no-store" in made.headers["Cache-Control"]
    shown = made.json()
    token = shown.pop("token")
    assert is_well_formed(token)
    assert set(shown) == {"id", "name", "scopes", "created_at", "expires_at", "last_used_at"}
    assert shown | BODY | {"last_used_at": None} == shown
    listed = await api.client.get("/tokens", headers=anna.headers)
    assert listed.json() == [shown]
    (row,) = await api.database.fetch(_ROWS)
    assert token not in str(row)
    assert token_hash(token) in row


_ROWS = select(PERSONAL_TOKENS)


async def test_a_token_does_what_its_scopes_say_and_nothing_else(api: ApiClient) -> None:
    anna = await api.person()
    script = await api.token(anna, Scope.ACCOUNT_READ)

    assert await status(api, script.token) == 200
    refused = await api.client.patch("/users/me", json={"name": "A"}, headers=script.headers)
    problem_of(refused, 403, "insufficient_scope")
    assert refused.headers["WWW-Authenticate"] == (
        'Bearer error="insufficient_scope", scope="account:write"'
    )
    only_sessions = await api.client.get("/tokens", headers=script.headers)
    problem_of(only_sessions, 403, "session_required")
    assert "WWW-Authenticate" not in only_sessions.headers


async def test_what_a_token_may_not_is_refused_before_the_body_is_looked_at(
    api: ApiClient,
) -> None:
    script = await api.token(await api.person(), Scope.ACCOUNT_READ)

    for path, code in (("/introspect", "insufficient_scope"), ("/tokens", "session_required")):
        answer = await api.client.post(path, content=b"{", headers=script.headers)
        problem_of(answer, 403, code)


@pytest.mark.parametrize(
    "change",
    [
        {"scopes": []},
        {"scopes": ["account:delete"]},
        {"scopes": ["session"]},
        {"scopes": "account:read"},
        {"scopes": None},
        {"name": ""},
        {"name": "a\nb"},
        {"name": None},
        {"expires_in": 0},
        {"expires_in": 10**30},
        {"expires_in": "60"},
        {"expires_in": None},
        {"user_id": 7},
    ],
    ids=str,
)
@on_one_database
async def test_a_bad_token_body_is_422(api: ApiClient, change: dict[str, Any]) -> None:
    anna = await api.person()

    answer = await api.client.post("/tokens", json=BODY | change, headers=anna.headers)

    assert answer.status_code == 422
    assert await api.database.fetch(_ROWS) == []


async def test_a_token_expires_when_it_was_asked_to(api: ApiClient) -> None:
    anna = await api.person()
    short = await api.token(anna, Scope.ACCOUNT_READ, expires_in=60)
    default = await api.token(anna, Scope.ACCOUNT_READ)

    for ahead, statuses in (
        (timedelta(seconds=59), (200, 200)),
        (timedelta(seconds=61), (401, 200)),
        (timedelta(days=89), (401, 200)),
        (timedelta(days=91), (401, 401)),
    ):
        api.clock.ahead = ahead
        assert (await status(api, short.token), await status(api, default.token)) == statuses


ENDS = [ApiClient.deactivate, ApiClient.delete]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
async def test_a_token_ends_on_the_next_request_as_a_session_does(api: ApiClient, end: Any) -> None:
    anna, bert = await api.person(), await api.person()
    script, other = [await api.token(person, Scope.ACCOUNT_READ) for person in (anna, bert)]
    assert await status(api, script.token) == 200

    await end(api, anna)

    problem_of(await api.client.get("/users/me", headers=script.headers), 401, "invalid_token")
    assert await status(api, other.token) == 200


async def test_an_admin_s_token_loses_its_scope_with_the_role(api: ApiClient) -> None:
    root = await api.person(role=Role.ADMIN)
    script = await api.token(root, Scope.ADMIN)
    assert await status(api, script.token, "/users") == 200

    await api.set_role(root, Role.MODERATOR)
    refused = await api.client.get("/users", headers=script.headers)
    problem_of(refused, 403, "insufficient_scope")
    await api.set_role(root, Role.ADMIN)

    assert await status(api, script.token, "/users") == 200


async def test_an_admin_s_token_without_the_scope_sees_what_members_see(api: ApiClient) -> None:
    root, anna = await api.person(role=Role.ADMIN), await api.person()
    script = await api.token(root, Scope.ACCOUNT_READ)

    seen = await api.client.get(f"/users/{anna.id}", headers=script.headers)

    assert set(seen.json()) == {"id", "name", "created_at"}


async def test_only_an_admin_makes_a_token_for_admins(api: ApiClient) -> None:
    body = BODY | {"scopes": ["admin"]}

    for role, expected in ((Role.MEMBER, 403), (Role.MODERATOR, 403), (Role.ADMIN, 201)):
        person = await api.person(role=role)
        answer = await api.client.post("/tokens", json=body, headers=person.headers)
        assert answer.status_code == expected


async def test_a_token_sees_its_owner_s_sessions_and_is_none_of_them(api: ApiClient) -> None:
    script = await api.token(await api.person(), Scope.ACCOUNT_READ, Scope.ACCOUNT_WRITE)

    (session,) = (await api.client.get("/sessions", headers=script.headers)).json()

    assert session["current"] is False
    ended = await api.client.delete(f"/sessions/{session['id']}", headers=script.headers)
    assert ended.status_code == 204
    problem_of(await api.client.post("/logout", headers=script.headers), 403, "session_required")


@on_one_database
async def test_guesses_of_one_address_are_limited_and_others_go_on(database_url: str) -> None:
    async with open_gate(database_url, limits=FakeLimits({Limit.TOKEN_GUESSES: 3})) as api:
        anna = await api.person()
        script = await api.token(anna, Scope.ACCOUNT_READ)

        statuses = [await status(api, guess) for guess in (UNKNOWN, MADE_UP) * 3]

        assert statuses == [401, 401, 401, 429, 429, 429]
        assert await status(api, script.token) == 200
        assert await status(api, anna.token) == 200
        assert await status(api, "eyJ.x.y") == 401
        retry = await api.client.get("/users/me", headers=bearer(UNKNOWN))
        assert "Retry-After" in retry.headers


def test_the_scopes_of_tokens_are_those_of_the_contract() -> None:
    assert [scope.value for scope in TOKEN_SCOPES] == [
        "account:read",
        "account:write",
        "posts:read",  # posts only
        "posts:write",  # posts only
        "admin",
    ]
