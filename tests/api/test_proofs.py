"""The second step of a login, and proofs that make a session fresh."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest

from domain.users import Role
from tests.api.authenticator import (
    STEP,
    assert_stale,
    assert_wrong,
    challenge_of,
    enrol,
    log_in,
    prove,
    second_step,
)
from tests.api.caller import Caller
from tests.api.client import PASSWORD, ApiClient, Person, on_one_database, problem_of
from tests.api.expected import Expected, Options, allowed
from tests.jobs import do_next

NEW_PASSWORD = "staple battery horse"


async def a_second_step(api: ApiClient, person: Person) -> Options:
    app = await enrol(api, person)
    problem = await challenge_of(api, person.email)
    return {"json": {"challenge": problem["challenge"], "code": app.code()}}


async def a_password(_: ApiClient, __: Person) -> Options:
    return {"json": {"password": PASSWORD}}


async def with_a_wrong_proof(caller: Caller, name: str) -> httpx.Response:
    return await caller.call(name, json={"password": "wrong"})


async def with_a_wrong_challenge(caller: Caller, name: str) -> httpx.Response:
    return await caller.call(name, json={"challenge": "wrong", "code": "123456"})


ROUTES = [
    Expected(
        operation="finish_login",
        route="POST /login/second-factor",
        request=a_second_step,
        refusals={401: with_a_wrong_challenge},
    ),
    Expected(
        operation="prove",
        route="POST /sessions/current/proof",
        statuses=allowed(204),
        request=a_password,
        refusals={403: with_a_wrong_proof},
    ),
]


async def test_a_wrong_password_says_nothing_of_the_second_factor(api: ApiClient) -> None:
    anna, bert = await api.person(), await api.person()
    await enrol(api, anna)

    answers = [await api.log_in(person.email, "wrong horse") for person in (anna, bert)]

    for answer in answers:
        problem_of(answer, 401, "invalid_credentials")


async def test_the_challenge_is_no_token_and_is_not_kept_by_caches(api: ApiClient) -> None:
    anna = await api.person()
    await enrol(api, anna)

    answer = await api.log_in(anna.email)

    problem = problem_of(answer, 401, "second_factor_required")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    headers = {"Authorization": f"Bearer {problem['challenge']}"}
    for path in ("/users/me", "/users/me/factors"):
        assert (await api.client.get(path, headers=headers)).status_code == 401
    refreshed = await api.client.post("/refresh", data={"refresh_token": problem["challenge"]})
    assert refreshed.status_code == 401


async def test_a_challenge_takes_five_tries(api: ApiClient) -> None:
    anna = await api.person()
    app = await enrol(api, anna)
    challenge = (await challenge_of(api, anna.email))["challenge"]

    for _ in range(4):
        assert_wrong(await second_step(api, challenge, "000000"))
    other = (await challenge_of(api, anna.email))["challenge"]
    assert (await second_step(api, challenge, app.code())).status_code == 200
    for _ in range(5):
        assert_wrong(await second_step(api, other, "000000"))

    assert_wrong(await second_step(api, other, app.code()))


async def test_tries_in_parallel_are_counted_one_by_one(api: ApiClient) -> None:
    anna = await api.person()
    app = await enrol(api, anna)
    challenge = (await challenge_of(api, anna.email))["challenge"]

    await asyncio.gather(*(second_step(api, challenge, "000000") for _ in range(8)))

    assert_wrong(await second_step(api, challenge, app.code()))


async def test_a_challenge_starts_one_session(api: ApiClient) -> None:
    anna = await api.person()
    app = await enrol(api, anna)
    challenge = (await challenge_of(api, anna.email))["challenge"]

    assert (await second_step(api, challenge, app.code())).status_code == 200

    assert_wrong(await second_step(api, challenge, app.code()))


@pytest.mark.parametrize("kind", ["totp", "recovery_code"])
async def test_of_fifty_logins_that_race_with_one_code_one_gets_in(
    api: ApiClient, kind: str
) -> None:
    anna = await api.person()
    app = await enrol(api, anna)
    problems = [await challenge_of(api, anna.email) for _ in range(50)]
    code = app.code() if kind == "totp" else app.recovery_codes[0]

    answers = await asyncio.gather(
        *(second_step(api, problem["challenge"], code) for problem in problems)
    )

    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 49


@on_one_database
async def test_a_challenge_expires_after_five_minutes(api: ApiClient) -> None:
    anna = await api.person()
    app = await enrol(api, anna)
    challenge = (await challenge_of(api, anna.email))["challenge"]
    api.clock.ahead += timedelta(seconds=300)

    assert_wrong(await second_step(api, challenge, app.code()))


async def change_password(api: ApiClient, anna: Person, admin: Person) -> None:
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    answer = await api.client.put("/users/me/password", json=body, headers=anna.headers)
    assert answer.status_code == 204, answer.text


async def deactivate_and_reactivate(api: ApiClient, anna: Person, admin: Person) -> None:
    for is_active in (False, True):
        answer = await api.client.patch(
            f"/users/{anna.id}", json={"is_active": is_active}, headers=admin.headers
        )
        assert answer.status_code == 200


@pytest.mark.parametrize("end", [change_password, deactivate_and_reactivate])
async def test_a_challenge_dies_with_the_password_and_with_deactivation(
    api: ApiClient, end: Any
) -> None:
    anna, admin = await api.person(), await api.person(role=Role.ADMIN)
    app = await enrol(api, anna)
    challenge = (await challenge_of(api, anna.email))["challenge"]

    await end(api, anna, admin)

    assert_wrong(await second_step(api, challenge, app.code()))


@on_one_database
@pytest.mark.parametrize(
    "body", [{}, {"challenge": "x"}, {"code": "123456"}, {"challenge": "x", "code": None}]
)
async def test_a_second_step_needs_a_challenge_and_an_answer(
    api: ApiClient, body: dict[str, Any]
) -> None:
    answer = await api.client.post("/login/second-factor", json=body)

    problem_of(answer, 422, "validation_failed")


async def test_a_proof_makes_the_session_fresh_and_keeps_it(api: ApiClient) -> None:
    anna = await api.person()
    api.clock.ahead += timedelta(seconds=601)
    assert_stale(await api.client.post("/users/me/totp", headers=anna.headers))

    assert (await prove(api, anna, password=PASSWORD)).status_code == 204

    assert (await api.client.post("/users/me/totp", headers=anna.headers)).status_code == 201
    (session,) = (await api.client.get("/sessions", headers=anna.headers)).json()
    assert session["methods"] == ["pwd"]
    assert session["proved_at"] > session["created_at"]


async def test_a_password_makes_no_session_fresh_on_an_account_with_a_factor(
    api: ApiClient,
) -> None:
    anna = await api.person()
    app = await enrol(api, anna)
    logged_in = await log_in(api, anna, app)
    api.clock.ahead += timedelta(seconds=601)

    for person in (anna, logged_in):
        assert (await prove(api, person, password=PASSWORD)).status_code == 204
        assert_stale(await api.client.delete("/users/me/totp", headers=person.headers))

    assert (await prove(api, anna, code=app.code())).status_code == 204
    assert (await api.client.delete("/users/me/totp", headers=anna.headers)).status_code == 204


async def test_a_refresh_makes_no_session_fresh(api: ApiClient) -> None:
    anna = await api.person()
    api.clock.ahead += timedelta(seconds=601)
    answer = await api.client.post("/refresh", data={"refresh_token": anna.refresh_token})
    headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}

    assert_stale(await api.client.post("/users/me/totp", headers=headers))


async def test_a_code_serves_one_login_or_one_proof(api: ApiClient) -> None:
    anna = await api.person()
    app = await enrol(api, anna)
    first, second = app.code(), app.code()
    challenge = (await challenge_of(api, anna.email))["challenge"]

    assert (await second_step(api, challenge, second)).status_code == 200
    problem_of(await prove(api, anna, code=second), 422, "wrong_code")
    # A code of an earlier step is refused after a later one.
    problem_of(await prove(api, anna, code=first), 422, "wrong_code")

    third = app.code()
    assert (await prove(api, anna, code=third)).status_code == 204
    challenge = (await challenge_of(api, anna.email))["challenge"]
    assert_wrong(await second_step(api, challenge, third))


async def test_a_code_is_accepted_until_the_end_of_the_next_step(api: ApiClient) -> None:
    anna = await api.person()
    app = await enrol(api, anna)
    code = app.code()
    api.clock.ahead += STEP

    assert (await prove(api, anna, code=code)).status_code == 204
    late = app.code()
    api.clock.ahead += 2 * STEP
    problem_of(await prove(api, anna, code=late), 422, "wrong_code")


@on_one_database
@pytest.mark.parametrize(
    ("proof", "status", "code"),
    [
        ({"password": "wrong"}, 403, "wrong_password"),
        ({"code": "000000"}, 422, "wrong_code"),
        ({"code": "aaaa-bbbb-cccc-dddd"}, 422, "wrong_code"),
        ({}, 422, "validation_failed"),
        ({"password": PASSWORD, "code": "000000"}, 422, "validation_failed"),
    ],
)
async def test_a_wrong_proof_is_refused_and_changes_nothing(
    api: ApiClient, proof: dict[str, str], status: int, code: str
) -> None:
    anna = await api.person()
    before = (await api.client.get("/sessions", headers=anna.headers)).json()

    problem_of(await prove(api, anna, **proof), status, code)

    assert (await api.client.get("/sessions", headers=anna.headers)).json() == before


async def test_a_reset_of_the_password_does_not_get_past_the_factor(api: ApiClient) -> None:
    anna = await api.person()
    app = await enrol(api, anna)
    await api.client.post("/password-reset", json={"email": anna.email})
    token = await mailed_token(api)

    body = {"token": token, "new_password": NEW_PASSWORD}
    assert (await api.client.put("/password-reset", json=body)).status_code == 204

    assert (await api.me(anna)).status_code == 401
    problem = await challenge_of(api, anna.email, NEW_PASSWORD)
    answer = await second_step(api, problem["challenge"], app.code())
    assert answer.status_code == 200


async def mailed_token(api: ApiClient) -> str:
    mailer: Any = api.ports.mailer
    while await do_next(api.app.state.services):
        pass
    texts = [mail.text for mail in mailer.sent if "new password" in mail.subject]
    (token,) = [line for line in texts[-1].splitlines() if len(line) == 43]
    return str(token)
