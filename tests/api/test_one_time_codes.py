"""Verifying an address, and a new password for whoever forgot theirs."""

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

NEW = "staple battery horse"


async def delivered(gate: ApiClient) -> list[str]:
    """The tokens in the mails that are sent now."""
    services: Services = gate.app.state.services
    mailer = gate.ports.mailer
    assert isinstance(mailer, FakeMailer)
    before = len(mailer.sent)
    while await services.mail.deliver_next():
        pass
    texts = [mail.text for mail in mailer.sent[before:]]
    return [re.findall(r"^[A-Za-z0-9_-]{40,}$", text, re.MULTILINE)[0] for text in texts]


async def ask_for_verification(gate: ApiClient, person: Person) -> str:
    answer = await gate.client.post("/users/me/verification", headers=person.headers)
    assert (answer.status_code, answer.content) == (202, b"")
    (token,) = await delivered(gate)
    return token


async def ask_for_reset(gate: ApiClient, email: str) -> list[str]:
    answer = await gate.client.post("/password-reset", json={"email": email})
    assert (answer.status_code, answer.content) == (202, b"")
    return await delivered(gate)


async def ask_to_move(gate: ApiClient, person: Person, email: str) -> list[str]:
    """The tokens that undo and that confirm the change."""
    body = {"email": email, "current_password": PASSWORD}
    answer = await gate.client.patch("/users/me", json=body, headers=person.headers)
    assert answer.status_code == 200, answer.text
    return await delivered(gate)


async def with_an_address_taken_meanwhile(caller: Caller, name: str) -> httpx.Response:
    _, confirmation = await ask_to_move(caller.gate, caller.anna, "new@example.com")
    await caller.gate.person("new@example.com")
    return await caller.call(name, json={"token": confirmation})


async def verification(gate: ApiClient, person: Person) -> Options:
    return {"json": {"token": await ask_for_verification(gate, person)}}


async def reset_request(_gate: ApiClient, person: Person) -> Options:
    return {"json": {"email": person.email}}


async def new_password(gate: ApiClient, person: Person) -> Options:
    (token,) = await ask_for_reset(gate, person.email)
    return {"json": {"token": token, "new_password": PASSWORD}}


async def undo(gate: ApiClient, person: Person) -> Options:
    token, _ = await ask_to_move(gate, person, f"moved{person.id}@example.com")
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
        refusals={400: with_a_bad_code},
    ),
]


async def verify(gate: ApiClient, token: str) -> httpx.Response:
    return await gate.client.post("/verification", json={"token": token})


async def reset(gate: ApiClient, token: str, password: str = NEW) -> httpx.Response:
    return await gate.client.put("/password-reset", json={"token": token, "new_password": password})


async def undo_change(gate: ApiClient, token: str) -> httpx.Response:
    return await gate.client.post("/email-change/undo", json={"token": token})


async def test_a_mailed_token_verifies_the_address(gate: ApiClient) -> None:
    anna = await gate.person()
    token = await ask_for_verification(gate, anna)

    answer = await verify(gate, token)

    assert (answer.status_code, answer.content) == (204, b"")
    assert (await gate.me(anna)).json()["is_verified"] is True
    problem_of(await verify(gate, token), 400, "invalid_code")
    answer = await gate.client.post("/users/me/verification", headers=anna.headers)
    assert answer.status_code == 202
    assert await delivered(gate) == []


async def test_a_new_address_is_pending_until_its_token_is_used(
    gate: ApiClient,
) -> None:
    anna = await gate.person()
    body = {"email": "new@example.com", "current_password": PASSWORD}

    moved = await gate.client.patch("/users/me", json=body, headers=anna.headers)

    assert moved.status_code == 200
    assert (moved.json()["email"], moved.json()["pending_email"]) == (anna.email, "new@example.com")
    assert moved.json() == (await gate.me(anna)).json()
    assert (await gate.log_in(anna.email)).status_code == 200
    assert (await gate.log_in("new@example.com")).status_code == 401
    _, confirmation = await delivered(gate)
    assert (await verify(gate, confirmation)).status_code == 204
    assert (await gate.me(anna)).json() == moved.json() | {
        "email": "new@example.com",
        "pending_email": None,
        "is_verified": True,
    }
    assert (await gate.log_in("NEW@example.com")).status_code == 200
    assert (await gate.log_in(anna.email)).status_code == 401


async def test_the_token_mailed_to_the_old_address_undoes_the_change(
    gate: ApiClient,
) -> None:
    anna = await gate.person()
    undo, confirmation = await ask_to_move(gate, anna, "thief@example.com")
    await verify(gate, confirmation)
    problem_of(await undo_change(gate, confirmation), 400, "invalid_code")

    answer = await undo_change(gate, undo)

    assert (answer.status_code, answer.content) == (204, b"")
    assert (await gate.me(anna)).status_code == 401
    assert (await gate.log_in("thief@example.com")).status_code == 401
    assert (await gate.log_in(anna.email)).status_code == 200
    problem_of(await undo_change(gate, undo), 400, "invalid_code")


async def test_verifying_an_address_that_is_taken_is_409(gate: ApiClient) -> None:
    anna = await gate.person()
    _, confirmation = await ask_to_move(gate, anna, "new@example.com")
    await gate.person("new@example.com")

    problem_of(await verify(gate, confirmation), 409, "email_taken")


async def test_a_reset_sets_a_password_and_revokes_all_sessions(gate: ApiClient) -> None:
    anna, bert = await gate.person(), await gate.person()
    (token,) = await ask_for_reset(gate, anna.email.upper())

    answer = await reset(gate, token)

    assert (answer.status_code, answer.content) == (204, b"")
    assert (await gate.me(anna)).status_code == 401
    assert (await gate.me(bert)).status_code == 200
    assert (await gate.log_in(anna.email)).status_code == 401
    login = await gate.log_in(anna.email, NEW)
    headers = {"Authorization": f"Bearer {login.json()['access_token']}"}
    me = await gate.client.get("/users/me", headers=headers)
    assert me.json()["is_verified"] is True
    problem_of(await reset(gate, token, "yet another one"), 400, "invalid_code")
    assert (await gate.log_in(anna.email, NEW)).status_code == 200


async def test_a_reset_request_does_not_reveal_accounts(gate: ApiClient) -> None:
    anna = await gate.person()

    known = await gate.client.post("/password-reset", json={"email": anna.email})
    unknown = await gate.client.post("/password-reset", json={"email": "nobody@example.com"})

    def told(answer: httpx.Response) -> tuple[Any, ...]:
        headers = {k: v for k, v in answer.headers.items() if k != "x-request-id"}
        return answer.status_code, answer.content, headers

    assert told(known) == told(unknown)
    assert len(await delivered(gate)) == 1


async def test_a_weak_password_is_refused_without_consuming_the_token(
    gate: ApiClient,
) -> None:
    anna = await gate.person()
    (token,) = await ask_for_reset(gate, anna.email)

    for weak in ("short", "123456789012", anna.email):
        problem_of(await reset(gate, token, weak), 422, "weak_password")

    assert (await reset(gate, token)).status_code == 204


async def test_codes_of_a_deactivated_user_are_refused(gate: ApiClient) -> None:
    anna = await gate.person()
    (token,) = await ask_for_reset(gate, anna.email)
    await gate.deactivate(anna)

    problem_of(await reset(gate, token), 400, "invalid_code")
    assert await ask_for_reset(gate, anna.email) == []


@on_one_database
@pytest.mark.parametrize("token", ["", "x", "\0", "é" * 200, "../../etc/passwd", "e.y" * 1000])
async def test_an_invented_token_is_refused(gate: ApiClient, token: str) -> None:
    problem_of(await verify(gate, token), 400, "invalid_code")
    problem_of(await reset(gate, token), 400, "invalid_code")
    problem_of(await undo_change(gate, token), 400, "invalid_code")


async def test_an_access_token_is_not_accepted_as_a_code(gate: ApiClient) -> None:
    anna = await gate.person()

    for answer in (
        await verify(gate, anna.token),
        await reset(gate, anna.token),
        await undo_change(gate, anna.token),
    ):
        problem_of(answer, 400, "invalid_code")


@on_one_database
@pytest.mark.parametrize("body", [{}, {"token": None}, {"token": 1}, {"token": []}])
async def test_a_malformed_token_is_refused(gate: ApiClient, body: dict[str, Any]) -> None:
    answer = await gate.client.post("/verification", json=body)

    problem_of(answer, 422, "validation_failed")


@on_one_database
@pytest.mark.parametrize("email", ["", "anna", None, 1, "\0@example.com"])
async def test_a_reset_request_without_an_address_is_refused(
    gate: ApiClient, email: object
) -> None:
    answer = await gate.client.post("/password-reset", json={"email": email})

    problem_of(answer, 422, "validation_failed")
