"""Registration in its three modes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest

from application.services import Services
from domain.registrations import RegistrationMode
from tests.api.client import PASSWORD, ApiClient, application, client_of, problem_of
from tests.api.test_one_time_codes import delivered, verify

NEW_EMAIL = "new@example.com"


@asynccontextmanager
async def registering(api: ApiClient, mode: RegistrationMode) -> AsyncIterator[ApiClient]:
    """The same service in this mode."""
    ports = replace(api.ports, registration=mode)
    app = application(ports)
    async with client_of(app) as client:
        yield replace(api, app=app, client=client, ports=ports)


async def register(api: ApiClient, email: str, **members: Any) -> httpx.Response:
    body = {"email": email, "password": PASSWORD} | members
    return await api.client.post("/users", json=body)


def told(answer: httpx.Response) -> tuple[Any, ...]:
    headers = {k: v for k, v in answer.headers.items() if k != "x-request-id"}
    return answer.status_code, answer.content, headers


async def test_a_quiet_registration_has_the_same_response_for_free_and_taken_addresses(
    api: ApiClient,
) -> None:
    anna = await api.person()
    async with registering(api, RegistrationMode.QUIET) as quiet:
        free, taken = [await register(quiet, email) for email in (NEW_EMAIL, anna.email)]

        assert told(free) == told(taken)
        assert (free.status_code, free.content) == (202, b"")
        assert (await quiet.log_in(NEW_EMAIL)).status_code == 401
        (token,) = await delivered(quiet)
        assert (await verify(quiet, token)).status_code == 204
        login = await quiet.log_in(NEW_EMAIL)
        headers = {"Authorization": f"Bearer {login.json()['access_token']}"}
        me = (await quiet.client.get("/users/me", headers=headers)).json()
        assert (me["email"], me["is_verified"]) == (NEW_EMAIL, True)
        problem_of(await verify(quiet, token), 400, "invalid_code")


async def test_a_quiet_change_of_address_has_the_same_response_for_free_and_taken_addresses(
    api: ApiClient,
) -> None:
    anna, bert = await api.person(), await api.person()
    async with registering(api, RegistrationMode.QUIET) as quiet:
        answers = []
        for email in (NEW_EMAIL, bert.email):
            body = {"email": email, "current_password": PASSWORD}
            answer = await quiet.client.patch("/users/me", json=body, headers=anna.headers)
            assert answer.json()["pending_email"] == email
            answers.append((answer.status_code, answer.json() | {"pending_email": None}))

        assert answers[0] == answers[1]
        assert answers[0][0] == 200


@pytest.mark.parametrize("mode", [RegistrationMode.QUIET, RegistrationMode.CLOSED])
async def test_a_weak_password_or_a_closed_registration_is_refused(
    api: ApiClient, mode: RegistrationMode
) -> None:
    async with registering(api, mode) as client:
        answer = await register(client, NEW_EMAIL, password="short")

        if mode is RegistrationMode.QUIET:
            problem_of(answer, 422, "weak_password")
        else:
            problem_of(answer, 403, "registration_closed")
        services: Services = client.app.state.services
        assert await services.ports.queries.credentials(NEW_EMAIL) is None
