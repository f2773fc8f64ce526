"""Verification of addresses, and password resets."""

import re
from typing import Any

import httpx
import pytest

from application.services import Services
from tests.api.caller import Caller
from tests.api.client import PASSWORD, ApiClient, Person, on_one_database, problem_of
from tests.api.expected import Expected, Options, allowed
from tests.api.provocations import with_a_bad_code
from tests.fakes.mail import FakeMailer
from tests.jobs import do_next

NEW = "staple battery horse"


async def delivered(api: ApiClient) -> list[str]:
    """The tokens in the mails that are sent now. Notices have none."""
    services: Services = api.app.state.services
    mailer = api.ports.mailer
    assert isinstance(mailer, FakeMailer)
    before = len(mailer.sent)
    while await do_next(services):
        pass
    texts = [mail.text for mail in mailer.sent[before:]]
    return [
        token for text in texts for token in re.findall(r"^[A-Za-z0-9_-]{40,}$", text, re.MULTILINE)
    ]


async def ask_for_verification(api: ApiClient, person: Person) -> str:
    answer = await api.client.post("/users/me/verification", headers=person.headers)
    assert (answer.status_code, answer.content) == (202, b"")
    (token,) = await delivered(api)
    return token


async def ask_for_reset(api: ApiClient, email: str) -> list[str]:
    answer = await api.client.post("/password-reset", json={"email": email})
    assert (answer.status_code, answer.content) == (202, b"")
    return await delivered(api)


async def ask_to_move(api: ApiClient, person: Person, email: str) -> list[str]:
    """The tokens that undo and that confirm the change."""
    body = {"email": email, "current_password": PASSWORD}
    answer = await api.client.patch("/users/me", json=body, headers=person.headers)
    assert answer.status_code == 200, answer.text
    return await delivered(api)


async def with_an_address_taken_meanwhile(caller: Caller, name: str) -> httpx.Response:
    _, confirmation = await ask_to_move(caller.api, caller.anna, "new@example.com")
    await caller.api.person("new@example.com")
    return await caller.call(name, json={"token": confirmation})


async def with_the_old_address_given_away(caller: Caller, name: str) -> httpx.Response:
    """As no request can: the address is reserved for as long as the token is valid."""
    token, confirmation = await ask_to_move(caller.api, caller.anna, "new@example.com")
    await verify(caller.api, confirmation)
    await caller.api.set_email(caller.admin, caller.anna.email)
    return await caller.call(name, json={"token": token})


async def verification(api: ApiClient, person: Person) -> Options:
    return {"json": {"token": await ask_for_verification(api, person)}}


async def reset_request(_gate: ApiClient, person: Person) -> Options:
    return {"json": {"email": person.email}}


async def new_password(api: ApiClient, person: Person) -> Options:
    (token,) = await ask_for_reset(api, person.email)
    return {"json": {"token": token, "new_password": PASSWORD}}


async def undo(api: ApiClient, person: Person) -> Options:
    token, _ = await ask_to_move(api, person, f"moved{person.id}@example.com")
    return {"json": {"token": token}}


ROUTES = [
    Expected(
        operation="request_verification",
        route="POST /users/me/verification",
        statuses=allowed(202),
    ),
    Expected(
        operation="verify",
        route="POST /verification",
        request=verification,
        refusals={400: with_a_bad_code, 409: with_an_address_taken_meanwhile},
    ),
    Expected(
        operation="request_password_reset",
        route="POST /password-reset",
        request=reset_request,
    ),
    Expected(
        operation="reset_password",
        route="PUT /password-reset",
        request=new_password,
        refusals={400: with_a_bad_code},
    ),
    Expected(
        operation="undo_email_change",
        route="POST /email-change/undo",
        request=undo,
        refusals={400: with_a_bad_code, 409: with_the_old_address_given_away},
    ),
]


async def verify(api: ApiClient, token: str) -> httpx.Response:
    return await api.client.post("/verification", json={"token": token})


async def reset(api: ApiClient, token: str, password: str = NEW) -> httpx.Response:
    return await api.client.put("/password-reset", json={"token": token, "new_password": password})


async def undo_change(api: ApiClient, token: str) -> httpx.Response:
    return await api.client.post("/email-change/undo", json={"token": token})


async def test_a_mailed_token_verifies_the_address(api: ApiClient) -> None:
    anna = await api.person()
    token = await ask_for_verification(api, anna)

    answer = await verify(api, token)

    assert (answer.status_code, answer.content) == (204, b"")
    assert (await api.me(anna)).json()["is_verified"] is True
    problem_of(await verify(api, token), 400, "invalid_code")
    answer = await api.client.post("/users/me/verification", headers=anna.headers)
    assert answer.status_code == 202
    assert await delivered(api) == []


async def test_a_new_address_is_pending_until_its_token_is_used(
    api: ApiClient,
) -> None:
    anna = await api.person()
    body = {"email": "new@example.com", "current_password": PASSWORD}

    moved = await api.client.patch("/users/me", json=body, headers=anna.headers)

    assert moved.status_code == 200
    assert (moved.json()["email"], moved.json()["pending_email"]) == (anna.email, "new@example.com")
    assert moved.json() == (await api.me(anna)).json()
    assert (await api.log_in(anna.email)).status_code == 200
    assert (await api.log_in("new@example.com")).status_code == 401
    _, confirmation = await delivered(api)
    assert (await verify(api, confirmation)).status_code == 204
    assert (await api.me(anna)).json() == moved.json() | {
        "email": "new@example.com",
        "pending_email": None,
        "is_verified": True,
    }
    assert (await api.log_in("NEW@example.com")).status_code == 200
    assert (await api.log_in(anna.email)).status_code == 401


async def test_the_token_mailed_to_the_old_address_undoes_the_change(
    api: ApiClient,
) -> None:
    anna = await api.person()
    undo, confirmation = await ask_to_move(api, anna, "thief@example.com")
    await verify(api, confirmation)
    problem_of(await undo_change(api, confirmation), 400, "invalid_code")

    answer = await undo_change(api, undo)

    assert (answer.status_code, answer.content) == (204, b"")
    assert (await api.me(anna)).status_code == 401
    assert (await api.log_in("thief@example.com")).status_code == 401
    assert (await api.log_in(anna.email)).status_code == 200
    problem_of(await undo_change(api, undo), 400, "invalid_code")


async def test_verifying_an_address_that_is_taken_is_409(api: ApiClient) -> None:
    anna = await api.person()
    _, confirmation = await ask_to_move(api, anna, "new@example.com")
    await api.person("new@example.com")

    problem_of(await verify(api, confirmation), 409, "email_taken")


async def test_a_reset_sets_a_password_and_revokes_all_sessions(api: ApiClient) -> None:
    anna, bert = await api.person(), await api.person()
    (token,) = await ask_for_reset(api, anna.email.upper())

    answer = await reset(api, token)

    assert (answer.status_code, answer.content) == (204, b"")
    assert (await api.me(anna)).status_code == 401
    assert (await api.me(bert)).status_code == 200
    assert (await api.log_in(anna.email)).status_code == 401
    login = await api.log_in(anna.email, NEW)
    headers = {"Authorization": f"Bearer {login.json()['access_token']}"}
    me = await api.client.get("/users/me", headers=headers)
    assert me.json()["is_verified"] is True
    problem_of(await reset(api, token, "yet another one"), 400, "invalid_code")
    assert (await api.log_in(anna.email, NEW)).status_code == 200


async def test_a_reset_request_does_not_reveal_accounts(api: ApiClient) -> None:
    anna = await api.person()

    known = await api.client.post("/password-reset", json={"email": anna.email})
    unknown = await api.client.post("/password-reset", json={"email": "nobody@example.com"})

    def told(answer: httpx.Response) -> tuple[Any, ...]:
        headers = {k: v for k, v in answer.headers.items() if k != "x-request-id"}
        return answer.status_code, answer.content, headers

    assert told(known) == told(unknown)
    assert len(await delivered(api)) == 1


async def test_a_weak_password_is_refused_without_consuming_the_token(
    api: ApiClient,
) -> None:
    anna = await api.person()
    (token,) = await ask_for_reset(api, anna.email)

    for weak in ("short", "123456789012", anna.email):
        problem_of(await reset(api, token, weak), 422, "weak_password")

    assert (await reset(api, token)).status_code == 204


async def test_codes_of_a_deactivated_user_are_refused(api: ApiClient) -> None:
    anna = await api.person()
    (token,) = await ask_for_reset(api, anna.email)
    await api.deactivate(anna)

    problem_of(await reset(api, token), 400, "invalid_code")
    assert await ask_for_reset(api, anna.email) == []


@on_one_database
@pytest.mark.parametrize("token", ["", "x", "\0", "é" * 200, "../../etc/passwd", "e.y" * 1000])
async def test_an_invented_token_is_refused(api: ApiClient, token: str) -> None:
    problem_of(await verify(api, token), 400, "invalid_code")
    problem_of(await reset(api, token), 400, "invalid_code")
    problem_of(await undo_change(api, token), 400, "invalid_code")


async def test_an_access_token_is_not_accepted_as_a_code(api: ApiClient) -> None:
    anna = await api.person()

    for answer in (
        await verify(api, anna.token),
        await reset(api, anna.token),
        await undo_change(api, anna.token),
    ):
        problem_of(answer, 400, "invalid_code")


@on_one_database
@pytest.mark.parametrize("body", [{}, {"token": None}, {"token": 1}, {"token": []}])
async def test_a_malformed_token_is_refused(api: ApiClient, body: dict[str, Any]) -> None:
    answer = await api.client.post("/verification", json=body)

    problem_of(answer, 422, "validation_failed")


@on_one_database
@pytest.mark.parametrize("email", ["", "anna", None, 1, "\0@example.com"])
async def test_a_reset_request_without_an_address_is_refused(api: ApiClient, email: object) -> None:
    answer = await api.client.post("/password-reset", json={"email": email})

    problem_of(answer, 422, "validation_failed")
