"""Passkeys over HTTP, with a software authenticator."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest

from api.app import create_app
from application.ports.passkeys import PasskeyRepository
from domain.passkeys import PASSKEYS_MAX
from domain.users import UserId
from tests.api.caller import Caller
from tests.api.client import ApiClient, Person, Watch, client_of, on_one_database, problem_of
from tests.api.expected import AUTH, Expected, Options, allowed
from tests.api.provocations import on_nobody
from tests.authenticator import (
    EDDSA,
    ES256,
    RS256,
    Flaws,
    SoftwareAuthenticator,
    assertion_json,
    attestation_json,
)
from tests.factories import NewPasskeyFactory


async def add_behind(api: ApiClient, owner: Person, **wanted: Any) -> object:
    """Store a passkey behind the service's back, so that the owner's session stays fresh."""
    new = NewPasskeyFactory.build(user_id=UserId(owner.id), **wanted)
    async with api.ports.storage() as uow:
        passkey = await uow.of(PasskeyRepository).add(new)
        await uow.commit()
    return passkey.id


async def a_new_passkey(api: ApiClient, person: Person) -> Options:
    if (await api.me(person)).status_code == 401:
        return {"json": {}}
    return {"json": await new_passkey(api, person, SoftwareAuthenticator())}


async def a_login(api: ApiClient, person: Person) -> Options:
    authenticator = SoftwareAuthenticator()
    body = await new_passkey(api, person, authenticator)
    answer = await api.client.post("/users/me/passkeys", json=body, headers=person.headers)
    assert answer.status_code == 201, answer.text
    return {"json": await login_body(api, authenticator)}


async def when_full(caller: Caller, name: str) -> httpx.Response:
    for number in range(PASSKEYS_MAX):
        id_ = b"full %d" % number
        await add_behind(caller.api, caller.anna, credential__credential_id=id_)
    return await caller.call(name)


async def when_known(caller: Caller, name: str) -> httpx.Response:
    authenticator = SoftwareAuthenticator()
    id_ = authenticator.credential_id
    await add_behind(caller.api, caller.admin, credential__credential_id=id_)
    return await caller.call(name, json=await new_passkey(caller.api, caller.anna, authenticator))


async def by_nobody_s(caller: Caller, name: str) -> httpx.Response:
    return await caller.call(name, json=await login_body(caller.api, SoftwareAuthenticator()))


ROUTES = [
    Expected(
        operation="passkey_login_options",
        route="POST /login/passkey/options",
        queries=["commit"],
    ),
    Expected(
        operation="log_in_by_passkey",
        route="POST /login/passkey",
        request=a_login,
        refusals={401: by_nobody_s},
    ),
    Expected(
        operation="passkey_options",
        route="POST /users/me/passkeys/options",
        statuses=allowed(200),
        queries=[*AUTH, "read", "commit"],
        refusals={409: when_full},
    ),
    Expected(
        operation="add_passkey",
        route="POST /users/me/passkeys",
        statuses=allowed(201),
        request=a_new_passkey,
        refusals={409: when_known},
    ),
    Expected(
        operation="list_passkeys",
        route="GET /users/me/passkeys",
        statuses=allowed(200),
        queries=[*AUTH, "read"],
    ),
    Expected(
        operation="rename_passkey",
        route="PATCH /users/me/passkeys/{passkey_id}",
        statuses=(401, 404, 200, 404, 404, 401),
        request={"json": {"name": "My phone"}},
        refusals={404: on_nobody},
    ),
    Expected(
        operation="remove_passkey",
        route="DELETE /users/me/passkeys/{passkey_id}",
        statuses=(401, 404, 204, 404, 404, 401),
        refusals={404: on_nobody},
    ),
]
IDS = {"passkey_id": add_behind}


async def new_passkey(
    api: ApiClient, person: Person, authenticator: SoftwareAuthenticator
) -> dict[str, Any]:
    """The body of an enrolment of this person."""
    answer = await api.client.post("/users/me/passkeys/options", headers=person.headers)
    assert answer.status_code == 200, answer.text
    assert "no-store" in answer.headers["Cache-Control"]
    return {"name": "Phone", "credential": attestation_json(authenticator.create(answer.json()))}


async def login_body(
    api: ApiClient,
    authenticator: SoftwareAuthenticator,
    flaws: Flaws = Flaws(),  # noqa: B008  immutable
) -> dict[str, Any]:
    answer = await api.client.post("/login/passkey/options")
    assert answer.status_code == 200, answer.text
    assert "no-store" in answer.headers["Cache-Control"]
    return {"credential": assertion_json(authenticator.get(answer.json(), flaws))}


async def enrol(
    api: ApiClient, person: Person, authenticator: SoftwareAuthenticator
) -> dict[str, Any]:
    body = await new_passkey(api, person, authenticator)
    answer = await api.client.post("/users/me/passkeys", json=body, headers=person.headers)
    assert answer.status_code == 201, answer.text
    passkey: dict[str, Any] = answer.json()
    return passkey


async def log_in(
    api: ApiClient,
    authenticator: SoftwareAuthenticator,
    flaws: Flaws = Flaws(),  # noqa: B008  immutable
) -> httpx.Response:
    body = await login_body(api, authenticator, flaws)
    return await api.client.post("/login/passkey", json=body)


def bearer(login: httpx.Response) -> dict[str, str]:
    return {"Authorization": f"Bearer {login.json()['access_token']}"}


@pytest.mark.parametrize("algorithm", [EDDSA, ES256, RS256])
async def test_from_enrolment_to_deletion(api: ApiClient, algorithm: int) -> None:
    anna, phone = await api.person(), SoftwareAuthenticator(algorithm=algorithm)
    added = await enrol(api, anna, phone)
    assert added.keys() == {"id", "name", "created_at", "last_used_at", "backed_up"}
    assert (added["name"], added["last_used_at"], added["backed_up"]) == ("Phone", None, True)

    login = await log_in(api, phone)

    assert login.status_code == 200
    assert login.headers["Cache-Control"] == "no-store"
    own = bearer(login)
    assert (await api.client.get("/users/me", headers=own)).json()["id"] == anna.id
    sessions = (await api.client.get("/sessions", headers=own)).json()
    assert [each["methods"] for each in sessions if each["current"]] == [["hwk", "user"]]

    path = f"/users/me/passkeys/{added['id']}"
    renamed = await api.client.patch(path, json={"name": " Tablet "}, headers=own)
    (listed,) = (await api.client.get("/users/me/passkeys", headers=own)).json()
    assert renamed.json() == listed
    assert (listed["name"], listed["id"]) == ("Tablet", added["id"])
    assert listed["last_used_at"] is not None
    (exported,) = (await api.client.get("/users/me/export", headers=own)).json()["passkeys"]
    assert exported["name"] == "Tablet"

    assert (await api.client.delete(path, headers=own)).status_code == 204
    assert (await api.client.get("/users/me/passkeys", headers=own)).json() == []
    problem_of(await log_in(api, phone), 401, "invalid_credentials")


async def test_of_many_racing_logins_with_one_answer_exactly_one_succeeds(api: ApiClient) -> None:
    anna, phone = await api.person(), SoftwareAuthenticator(counts=False)
    await enrol(api, anna, phone)
    body = await login_body(api, phone)

    answers = await asyncio.gather(
        *(api.client.post("/login/passkey", json=body) for _ in range(20))
    )

    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 19


async def test_of_two_racing_copies_of_a_key_one_succeeds(api: ApiClient) -> None:
    anna, phone = await api.person(), SoftwareAuthenticator()
    await enrol(api, anna, phone)
    bodies = [await login_body(api, phone, Flaws(sign_count=7)) for _ in range(5)]

    answers = await asyncio.gather(
        *(api.client.post("/login/passkey", json=body) for body in bodies)
    )

    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 4


REFUSED = {
    "a bogus signature": Flaws(signature=b"bogus"),
    "an absent user": Flaws(is_present=False),
    "an unverified user": Flaws(is_verified=False),
    "another origin": Flaws(origin="https://example.com"),
    "another relying party": Flaws(rp_id="example.com"),
    "another challenge": Flaws(challenge=b"another"),
    "a counter that goes back": Flaws(sign_count=0),
    "no user handle": Flaws(without_user_handle=True),
    "a foreign user handle": Flaws(user_handle=b"another"),
    "an unknown credential": Flaws(credential_id=b"unknown"),
}


@on_one_database
async def test_all_refused_logins_have_one_answer(api: ApiClient) -> None:
    anna, phone = await api.person(), SoftwareAuthenticator()
    await enrol(api, anna, phone)
    assert (await log_in(api, phone)).status_code == 200
    wrong_password = await api.log_in(anna.email, "wrong horse battery")
    expected = problem_of(wrong_password, 401, "invalid_credentials")

    for cause, flaws in REFUSED.items():
        answer = await log_in(api, phone, flaws)
        problem = problem_of(answer, 401, "invalid_credentials")
        assert problem | {"request_id": ""} == expected | {"request_id": ""}, cause
        assert answer.headers["WWW-Authenticate"] == "Bearer"


@on_one_database
async def test_a_failed_try_uses_up_the_challenge(api: ApiClient) -> None:
    anna, phone = await api.person(), SoftwareAuthenticator()
    await enrol(api, anna, phone)
    options = (await api.client.post("/login/passkey/options")).json()
    bogus, good = phone.get(options, Flaws(signature=b"bogus")), phone.get(options)

    for assertion in (bogus, good):
        body = {"credential": assertion_json(assertion)}
        problem_of(await api.client.post("/login/passkey", json=body), 401, "invalid_credentials")


@on_one_database
async def test_a_challenge_expires_after_five_minutes(api: ApiClient, clock: Watch) -> None:
    anna, phone = await api.person(), SoftwareAuthenticator()
    await enrol(api, anna, phone)
    body = await login_body(api, phone)
    clock.ahead = timedelta(minutes=5)

    problem_of(await api.client.post("/login/passkey", json=body), 401, "invalid_credentials")


@on_one_database
async def test_the_options_of_a_login_are_the_same_for_everybody(api: ApiClient) -> None:
    anna = await api.person()
    before = (await api.client.post("/login/passkey/options")).json()
    await enrol(api, anna, SoftwareAuthenticator())
    after = (await api.client.post("/login/passkey/options", headers=anna.headers)).json()

    assert before.pop("challenge") != after.pop("challenge")
    assert before == after
    assert before["userVerification"] == "required"
    assert "allowCredentials" not in before


@on_one_database
async def test_a_refused_enrolment_has_one_answer(api: ApiClient) -> None:
    anna, phone = await api.person(), SoftwareAuthenticator()
    options = (await api.client.post("/users/me/passkeys/options", headers=anna.headers)).json()
    for flaws in (Flaws(is_verified=False), Flaws(algorithm=-35), Flaws()):
        body = {"name": "Phone", "credential": attestation_json(phone.create(options, flaws))}
        answer = await api.client.post("/users/me/passkeys", json=body, headers=anna.headers)
        problem = problem_of(answer, 422, "bad_passkey")
        assert problem["detail"] == "The passkey could not be verified"


@on_one_database
async def test_a_passkey_makes_sessions_by_password_alone_stale(api: ApiClient) -> None:
    anna, phone = await api.person(), SoftwareAuthenticator()
    await enrol(api, anna, phone)

    answer = await api.client.post("/users/me/passkeys/options", headers=anna.headers)
    problem_of(answer, 401, "stale_login")
    own = bearer(await log_in(api, phone))
    answer = await api.client.post("/users/me/passkeys/options", headers=own)
    assert len(answer.json()["excludeCredentials"]) == 1


MALFORMED: dict[str, dict[str, Any]] = {
    "padding": {"id": "YQ=="},
    "another alphabet": {"id": "a+/b"},
    "bits behind the last byte": {"id": "YR"},
    "beyond ASCII": {"id": "é"},
    "a number": {"id": 7},
    "another type": {"type": "password"},
    "no response": {"response": None},
}


@on_one_database
@pytest.mark.parametrize("change", MALFORMED.values(), ids=MALFORMED.keys())
async def test_a_malformed_credential_is_a_422_that_does_not_repeat_it(
    api: ApiClient, change: dict[str, Any]
) -> None:
    body = await login_body(api, SoftwareAuthenticator())
    credential = body["credential"] | change

    answer = await api.client.post("/login/passkey", json={"credential": credential})

    problem = problem_of(answer, 422, "validation_failed")
    assert all(error["loc"][:2] == ["body", "credential"] for error in problem["errors"])
    assert body["credential"]["id"] not in answer.text


@on_one_database
async def test_without_a_relying_party_there_are_no_routes(api: ApiClient) -> None:
    anna = await api.person()
    app = create_app(replace(api.ports, passkeys=None), cursor_keys=[b"k" * 32])

    async with client_of(app) as client:
        for row in ROUTES:
            path = row.path.replace("{passkey_id}", "1")
            answer = await client.request(row.method, path, headers=anna.headers)
            assert answer.status_code == 404, row.route
