"""Every way to a token, on an account with a second factor: none passes the factor by."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from tests.api.authenticator import assert_stale, challenge_of, enrol, log_in, prove, second_step
from tests.api.client import PASSWORD, ApiClient, Person, on_one_database
from tests.api.expected import expected_routes
from tests.api.test_proofs import mailed_token

NEW_PASSWORD = "staple battery horse"
SAME_SITE = {"Sec-Fetch-Site": "same-origin"}


def has_session(answer: httpx.Response) -> bool:
    return "access_token" in answer.text or "set-cookie" in answer.headers


async def by_password(api: ApiClient, anna: Person) -> list[httpx.Response]:
    return [await api.log_in(anna.email)]


async def by_a_browser(api: ApiClient, anna: Person) -> list[httpx.Response]:
    form = {"username": anna.email, "password": PASSWORD}
    return [await api.client.post("/browser/login", data=form, headers=SAME_SITE)]


async def by_half_a_login(api: ApiClient, anna: Person) -> list[httpx.Response]:
    """The challenge of a right password is used wherever something is."""
    challenge = (await challenge_of(api, anna.email))["challenge"]
    bearer = {"Authorization": f"Bearer {challenge}"}
    return [
        await second_step(api, challenge, "000000"),
        await second_step(api, challenge, ""),
        *[
            await api.client.post("/browser/login", json=body, headers=SAME_SITE)
            for body in (
                {"challenge": challenge},
                {"challenge": challenge, "code": "000000"},
                {"code": challenge},
            )
        ],
        await api.client.post("/refresh", data={"refresh_token": challenge}),
        await api.client.post("/users/me/totp", headers=bearer),
        await api.client.put("/users/me/totp", json={"code": "000000"}, headers=bearer),
        await api.client.post(
            "/sessions/current/proof", json={"password": PASSWORD}, headers=bearer
        ),
        await api.client.put(
            "/password-reset", json={"token": challenge, "new_password": PASSWORD}
        ),
    ]


async def by_a_reset(api: ApiClient, anna: Person) -> list[httpx.Response]:
    await api.client.post("/password-reset", json={"email": anna.email})
    body = {"token": await mailed_token(api), "new_password": NEW_PASSWORD}
    answers = [await api.client.put("/password-reset", json=body)]
    assert answers[0].status_code == 204
    return [*answers, await api.log_in(anna.email, NEW_PASSWORD)]


async def by_a_change_of_password(api: ApiClient, anna: Person) -> list[httpx.Response]:
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    changed = await api.client.put("/users/me/password", json=body, headers=anna.headers)
    assert changed.status_code == 204
    return [changed, await api.log_in(anna.email, NEW_PASSWORD)]


Way = Callable[[ApiClient, Person], Awaitable[list[httpx.Response]]]
WAYS: list[Way] = [by_password, by_a_browser, by_half_a_login, by_a_reset, by_a_change_of_password]


@on_one_database
@pytest.mark.parametrize("way", WAYS)
async def test_no_way_to_a_token_passes_the_factor_by(api: ApiClient, way: Way) -> None:
    anna = await api.person()
    await enrol(api, anna)

    answers = await way(api, anna)

    assert [answer for answer in answers if has_session(answer)] == []


async def refreshed(api: ApiClient, anna: Person, _: Any) -> dict[str, str]:
    answer = await api.client.post("/refresh", data={"refresh_token": anna.refresh_token})
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


async def proved_by_password(api: ApiClient, anna: Person, _: Any) -> dict[str, str]:
    assert (await prove(api, anna, password=PASSWORD)).status_code == 204
    return anna.headers


async def from_before_the_factor(api: ApiClient, anna: Person, _: Any) -> dict[str, str]:
    return anna.headers


async def with_another_app(api: ApiClient, anna: Person, app: Any) -> dict[str, str]:
    """The session proved a factor that was removed since, and another one was added."""
    logged_in = await log_in(api, anna, app)
    assert (await prove(api, anna, code=app.code())).status_code == 204
    removed = await api.client.delete("/users/me/totp", headers=anna.headers)
    assert removed.status_code == 204
    await enrol(api, anna)
    return logged_in.headers


@on_one_database
@pytest.mark.parametrize(
    "session", [refreshed, proved_by_password, from_before_the_factor, with_another_app]
)
async def test_no_session_that_did_not_prove_the_factor_changes_it(
    api: ApiClient, session: Any
) -> None:
    """A session without a proof by the factor of today makes no token and removes no factor."""
    anna = await api.person()
    app = await enrol(api, anna)

    headers = await session(api, anna, app)

    for method, path, body in (
        ("POST", "/users/me/totp", None),
        ("DELETE", "/users/me/totp", None),
        ("POST", "/users/me/recovery-codes", None),
        ("POST", "/users/me/passkeys/options", None),
        ("POST", "/tokens", {"name": "backup", "scopes": ["account:read"]}),
    ):
        answer = await api.client.request(method, path, json=body, headers=headers)
        if answer.status_code != 404:  # no relying party, no passkeys
            assert_stale(answer)


TOKENS_ARE_MADE_BY = {
    "login",
    "finish_login",
    "refresh",
    "log_browser_in",
    "create_token",
    "log_in_by_passkey",
}


def test_every_route_that_answers_with_a_token_is_among_the_ways(api: ApiClient) -> None:
    """A route that comes to answer with a token makes this fail, until a way above uses it."""
    document = api.app.openapi()
    found = set()
    for methods in document["paths"].values():
        for operation in methods.values():
            schemas = re.findall(r"#/components/schemas/(\w+)", str(operation["responses"]))
            members = {
                name
                for schema in schemas
                for name in document["components"]["schemas"][schema].get("properties", ())
            }
            if members & {"access_token", "token"} or "set-cookie" in str(operation).lower():
                found.add(operation["operationId"])
    assert found <= TOKENS_ARE_MADE_BY
    assert {row.operation for row in expected_routes()} >= found
