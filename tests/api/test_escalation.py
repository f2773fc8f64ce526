"""A property: no calls that a token can make yield a credential that may do more than the token."""

import re
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import Any

import httpx
from fastapi import FastAPI
from hypothesis import example, given, settings
from hypothesis import strategies as st

from api.app import create_app
from application.browser import BrowserService
from application.logins import ClientInfo
from application.services import Services, build_services
from domain.errors import DomainError
from domain.personal_tokens import TokenDraft
from domain.policies import grantable
from domain.scopes import TOKEN_SCOPES, Scope
from domain.users import Role, User
from tests.api import caller
from tests.api.client import client_of
from tests.factories import UserDraftFactory
from tests.fakes.ports import fake_ports
from tests.logins import log_in

PASSWORD = "a password that no example has"
CALLS = st.lists(st.sampled_from(sorted(caller.OPERATIONS)), min_size=1, max_size=12)


@cache
def shared_application() -> FastAPI:
    return create_app(fake_ports(), cursor_keys=[b"k" * 32])


async def called(client: httpx.AsyncClient, name: str, token: str, user: User) -> httpx.Response:
    """The answer to the operation, with the token wherever a credential belongs."""
    method, path, operation = caller.OPERATIONS[name]
    path = re.sub(r"{\w+}", str(user.id), path)
    headers = {"Authorization": f"Bearer {token}"}
    options: dict[str, Any] = {}
    if "requestBody" in operation:
        given = caller.example(operation) or {}
        secret = {"token", "refresh_token", "password", "current_password", "code", "challenge"}
        given |= dict.fromkeys(secret & given.keys(), token)
        is_form = "application/x-www-form-urlencoded" in operation["requestBody"]["content"]
        form = {"token": token, "refresh_token": token, "password": token, "username": user.email}
        options = {"data": form} if is_form else {"json": given}
    return await client.request(method, path, headers=headers, **options)


def texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)


def credentials(answer: httpx.Response) -> set[str]:
    """All that could be a credential in an answer."""
    found = set(answer.cookies.values())
    if answer.headers.get("Content-Type", "").endswith("json"):
        found |= set(texts(answer.json()))
    return {text for text in found if len(text) >= 16}


async def authenticated(services: Services, text: str) -> list[User]:
    """Whom the text authenticates, as whatever kind of credential it is."""
    users = []
    for attempt in (services.auth.authenticate, services.of(BrowserService).authenticate):
        with suppress(DomainError):
            users.append((await attempt(text))[0])
    with suppress(DomainError):
        users.append((await services.auth.refresh(text)).user)
    return users


@settings(max_examples=10, deadline=None)
@given(
    scopes=st.sets(st.sampled_from(TOKEN_SCOPES), min_size=1),
    role=st.sampled_from(list(Role)),
    names=CALLS,
)
@example(scopes=set(TOKEN_SCOPES), role=Role.ADMIN, names=sorted(caller.OPERATIONS))
@example(scopes=set(TOKEN_SCOPES), role=Role.MEMBER, names=sorted(caller.OPERATIONS))
async def test_no_calls_of_a_token_yield_a_credential_that_may_do_more(
    scopes: set[Scope], role: Role, names: list[str]
) -> None:
    app = shared_application()
    services = app.state.services = build_services(fake_ports())
    # Another admin, so that the first one is not kept by being the last.
    await services.accounts.register(UserDraftFactory.build(), PASSWORD, Role.ADMIN)
    user = await services.accounts.register(UserDraftFactory.build(), PASSWORD, role)
    login = await log_in(services.auth, user.email, PASSWORD, ClientInfo())
    allowed = frozenset(scopes) & grantable(user) or frozenset({Scope.ACCOUNT_READ})
    draft = TokenDraft(name="script", scopes=allowed)
    _, token = await services.personal_tokens.make(draft, user, login.session)

    found = {token}
    async with client_of(app) as client:
        for name in names:
            found |= credentials(await called(client, name, token, user))

    for text in found:
        for authorized in await authenticated(services, text):
            assert authorized.id != user.id or authorized.scopes <= allowed
    assert len(await services.personal_tokens.of(user)) <= 1
    assert {it.id for it in await services.auth.sessions(user)} <= {login.session.id}
