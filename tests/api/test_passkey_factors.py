"""Passkeys as a second factor: the second step of a login, proofs, and their removal."""

from datetime import timedelta
from typing import Any

import httpx
import pytest

from domain.users import Role
from tests.api.authenticator import assert_stale, assert_wrong, challenge_of, second_step
from tests.api.client import PASSWORD, ApiClient, Person, on_one_database, problem_of
from tests.api.test_passkeys import bearer, enrol, log_in, login_body
from tests.authenticator import Flaws, SoftwareAuthenticator, assertion_json


@pytest.fixture
async def anna(api: ApiClient) -> Person:
    return await api.person()


@pytest.fixture
async def phone(api: ApiClient, anna: Person) -> SoftwareAuthenticator:
    """The authenticator with Anna's passkey."""
    phone = SoftwareAuthenticator()
    await enrol(api, anna, phone)
    return phone


async def step(
    api: ApiClient, challenge: str, authenticator: SoftwareAuthenticator, **flaws: Any
) -> httpx.Response:
    body = {"challenge": challenge} | await login_body(api, authenticator, Flaws(**flaws))
    return await api.client.post("/login/second-factor", json=body)


async def prove(
    api: ApiClient, person: Person, authenticator: SoftwareAuthenticator, **flaws: Any
) -> httpx.Response:
    body = await login_body(api, authenticator, Flaws(**flaws))
    return await api.client.post("/sessions/current/proof", json=body, headers=person.headers)


async def test_a_password_and_a_passkey_log_in(
    api: ApiClient, anna: Person, phone: SoftwareAuthenticator
) -> None:
    problem = await challenge_of(api, anna.email)
    assert problem["methods"] == ["passkey"]

    login = await step(api, problem["challenge"], phone)

    assert login.status_code == 200, login.text
    own = bearer(login)
    sessions = (await api.client.get("/sessions", headers=own)).json()
    assert [it["methods"] for it in sessions if it["current"]] == [["pwd", "hwk", "user"]]
    assert (await api.client.get("/users/me", headers=own)).json()["second_factor"] is True
    factors = (await api.client.get("/users/me/factors", headers=own)).json()
    listed = (await api.client.get("/users/me/passkeys", headers=own)).json()
    assert factors == {"totp": None, "recovery_codes_left": 0, "passkeys": listed}
    assert len(listed) == 1


@on_one_database
async def test_a_wrong_passkey_is_one_answer_and_uses_up_its_challenge(
    api: ApiClient, anna: Person, phone: SoftwareAuthenticator
) -> None:
    bert, key = await api.person(), SoftwareAuthenticator()
    await enrol(api, bert, key)
    challenge = (await challenge_of(api, anna.email))["challenge"]

    assert_wrong(await step(api, challenge, key))
    assert_wrong(await step(api, challenge, phone, signature=b"bogus"))
    assert_wrong(await step(api, challenge, phone, is_verified=False))
    options = (await api.client.post("/login/passkey/options")).json()
    for flaws in (Flaws(signature=b"bogus"), Flaws()):
        await login_with(api, challenge, options, phone, flaws)

    assert_wrong(await step(api, challenge, phone))  # five tries were made
    again = (await challenge_of(api, anna.email))["challenge"]
    assert (await step(api, again, phone)).status_code == 200


async def login_with(
    api: ApiClient,
    challenge: str,
    options: dict[str, Any],
    phone: SoftwareAuthenticator,
    flaws: Flaws,
) -> None:
    credential = assertion_json(phone.get(options, flaws))
    body = {"challenge": challenge, "credential": credential}
    assert_wrong(await api.client.post("/login/second-factor", json=body))


@on_one_database
async def test_a_proof_by_passkey_makes_a_session_fresh(
    api: ApiClient, anna: Person, phone: SoftwareAuthenticator
) -> None:
    path = "/users/me/passkeys/options"
    assert_stale(await api.client.post(path, headers=anna.headers))
    problem_of(await prove(api, anna, phone, is_verified=False), 422, "bad_passkey")
    assert_stale(await api.client.post(path, headers=anna.headers))

    assert (await prove(api, anna, phone)).status_code == 204

    assert (await api.client.post(path, headers=anna.headers)).status_code == 200
    (session,) = (await api.client.get("/sessions", headers=anna.headers)).json()
    assert session["methods"] == ["pwd", "hwk", "user"]
    api.clock.ahead += timedelta(seconds=601)
    assert_stale(await api.client.post(path, headers=anna.headers))


@on_one_database
async def test_a_passkey_of_somebody_else_proves_nothing(
    api: ApiClient, anna: Person, phone: SoftwareAuthenticator
) -> None:
    bert = await api.person()

    problem_of(await prove(api, bert, phone), 422, "bad_passkey")


@on_one_database
async def test_with_the_last_factor_the_recovery_codes_go_and_the_password_suffices(
    api: ApiClient, anna: Person, phone: SoftwareAuthenticator
) -> None:
    own = bearer(await log_in(api, phone))
    made = await api.client.post("/users/me/recovery-codes", headers=own)
    assert made.status_code == 201
    assert (await challenge_of(api, anna.email))["methods"] == ["recovery_code", "passkey"]
    (passkey,) = (await api.client.get("/users/me/passkeys", headers=own)).json()

    gone = await api.client.delete(f"/users/me/passkeys/{passkey['id']}", headers=own)

    assert gone.status_code == 204
    factors = (await api.client.get("/users/me/factors", headers=own)).json()
    assert factors == {"totp": None, "recovery_codes_left": 0, "passkeys": []}
    assert (await api.log_in(anna.email)).status_code == 200


@on_one_database
async def test_a_recovery_code_replaces_a_lost_passkey(
    api: ApiClient, anna: Person, phone: SoftwareAuthenticator
) -> None:
    own = bearer(await log_in(api, phone))
    made = await api.client.post("/users/me/recovery-codes", headers=own)
    code = made.json()["recovery_codes"][0]
    challenge = (await challenge_of(api, anna.email))["challenge"]

    assert (await second_step(api, challenge, code)).status_code == 200


async def test_an_admin_removes_the_passkeys_of_a_user(
    api: ApiClient, anna: Person, phone: SoftwareAuthenticator
) -> None:
    admin = await api.person(role=Role.ADMIN)
    own = bearer(await log_in(api, phone))

    answer = await api.client.delete(f"/users/{anna.id}/factors", headers=admin.headers)

    assert answer.status_code == 204, answer.text
    assert (await api.client.get("/users/me", headers=own)).status_code == 401
    problem_of(await log_in(api, phone), 401, "invalid_credentials")
    login = await api.log_in(anna.email, PASSWORD)
    assert login.status_code == 200
    assert (await api.client.get("/users/me/passkeys", headers=bearer(login))).json() == []
