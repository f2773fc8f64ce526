"""A passkey at the browser's door: alone, and as the second step."""

from dataclasses import replace
from typing import Any

import pytest

from application.ports.limits import Limit
from domain.factors import FactorPolicy
from tests.api.authenticator import challenge_of
from tests.api.client import (
    ApiClient,
    application,
    client_of,
    on_one_database,
    problem_of,
)
from tests.api.test_browser import SAME, me
from tests.api.test_passkeys import enrol, login_body
from tests.authenticator import Flaws, SoftwareAuthenticator
from tests.fakes.limits import FakeLimits

CROSS = {"Sec-Fetch-Site": "cross-site"}


async def test_a_passkey_alone_logs_a_browser_in_by_a_cookie(api: ApiClient) -> None:
    anna, phone = await api.person(), SoftwareAuthenticator()
    await enrol(api, anna, phone)

    answer = await api.client.post(
        "/browser/login", json=await login_body(api, phone), headers=SAME
    )

    assert (answer.status_code, answer.content) == (204, b""), answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    cookie = {"Cookie": answer.headers["Set-Cookie"].partition(";")[0]}
    api.client.cookies.clear()
    assert (await me(api, cookie)).json()["id"] == anna.id
    sessions = (await api.client.get("/sessions", headers=cookie)).json()
    assert [it["methods"] for it in sessions if it["current"]] == [["hwk", "user"]]
    # The session is fresh, although the account has a factor.
    options = await api.client.post("/users/me/passkeys/options", headers=cookie | SAME)
    assert options.status_code == 200


async def test_a_passkey_is_the_second_step_of_a_browser_s_login(api: ApiClient) -> None:
    anna, phone = await api.person(), SoftwareAuthenticator()
    await enrol(api, anna, phone)
    challenge = (await challenge_of(api, anna.email))["challenge"]

    body = {"challenge": challenge} | await login_body(api, phone)
    answer = await api.client.post("/browser/login", json=body, headers=SAME)

    assert answer.status_code == 204, answer.text
    assert answer.headers["Set-Cookie"].startswith("__Host-session=")


@on_one_database
async def test_a_credential_from_another_site_is_refused_and_uses_up_nothing(
    api: ApiClient,
) -> None:
    phone = SoftwareAuthenticator()
    await enrol(api, await api.person(), phone)
    body = await login_body(api, phone)

    for headers, status in ((CROSS, 403), ({}, 403), (SAME, 204), (SAME, 401)):
        answer = await api.client.post("/browser/login", json=body, headers=headers)
        assert answer.status_code == status, answer.text
        assert ("Set-Cookie" in answer.headers) is (status == 204)
        if status == 403:
            problem_of(answer, 403, "cross_site")


@on_one_database
@pytest.mark.parametrize(
    "flaws", [Flaws(signature=b"bogus"), Flaws(is_verified=False), Flaws(credential_id=b"no")]
)
async def test_a_credential_that_proves_nothing_gets_the_answer_of_a_wrong_password(
    api: ApiClient, flaws: Flaws
) -> None:
    phone = SoftwareAuthenticator()
    await enrol(api, await api.person(), phone)

    body = await login_body(api, phone, flaws)
    answer = await api.client.post("/browser/login", json=body, headers=SAME)

    problem_of(answer, 401, "invalid_credentials")
    assert "Set-Cookie" not in answer.headers


@on_one_database
async def test_logins_by_passkey_are_limited_as_those_by_password(api: ApiClient) -> None:
    """By network before the body is read; by account before the signature is verified."""
    phone = SoftwareAuthenticator()
    await enrol(api, await api.person(), phone)
    for limit, body in (
        (Limit.LOGINS, {}),
        (Limit.LOGIN_FAILURES, await login_body(api, phone)),
    ):
        app = application(replace(api.ports, limits=FakeLimits({limit: 0})))
        async with client_of(app) as client:
            answer = await client.post("/browser/login", json=body, headers=SAME)
            problem_of(answer, 429, "too_many_requests")


@on_one_database
async def test_failed_credentials_use_up_the_account_s_limit(api: ApiClient) -> None:
    phone = SoftwareAuthenticator()
    await enrol(api, await api.person(), phone)
    app = application(replace(api.ports, limits=FakeLimits({Limit.LOGIN_FAILURES: 2})))
    async with client_of(app) as client:
        for flaws, status in (
            (Flaws(signature=b"bogus"), 401),
            (Flaws(), 204),
            (Flaws(signature=b"bogus"), 401),
            (Flaws(), 429),
        ):
            body = await login_body(api, phone, flaws)
            answer = await client.post("/browser/login", json=body, headers=SAME)
            assert answer.status_code == status, answer.text


NONSENSE: list[tuple[Any, str]] = [
    ({}, "Exactly one of code, credential is needed"),
    ({"code": "123456"}, "code is the answer to a challenge"),
    ({"credential": None}, "Input should not be null"),
    ({"challenge": None, "code": "123456"}, "Input should not be null"),
    ({"credential": {}}, "Field required"),
]


@on_one_database
@pytest.mark.parametrize(("body", "message"), NONSENSE)
async def test_a_body_without_a_whole_answer_is_a_422(
    api: ApiClient, body: Any, message: str
) -> None:
    answer = await api.client.post("/browser/login", json=body, headers=SAME)

    problem = problem_of(answer, 422, "validation_failed")
    assert message in {error["msg"] for error in problem["errors"]}


@on_one_database
async def test_a_credential_needs_a_relying_party_and_strong_login(api: ApiClient) -> None:
    body = await login_body(api, SoftwareAuthenticator())
    for ports, status in (
        (replace(api.ports, passkeys=None), 422),
        (replace(api.ports, factor_policy=FactorPolicy(fresh_for=None)), 415),
    ):
        async with client_of(application(ports)) as client:
            answer = await client.post("/browser/login", json=body, headers=SAME)
            assert answer.status_code == status
