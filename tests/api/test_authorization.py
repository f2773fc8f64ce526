"""Authorization: every protected route, called with every role."""

from dataclasses import replace

import pytest
from fastapi import FastAPI

from api.routing import ProtectedRoute
from domain.scopes import TOKEN_SCOPES, Scope
from domain.users import Role
from tests.api.client import ApiClient, Person, on_one_database, problem_of
from tests.api.expected import WHO, Expected, expected_routes, path_of
from tests.api.test_routes import census

pytestmark = on_one_database

ROWS = [row for row in expected_routes() if row.statuses]


async def somebody(api: ApiClient, who: str, owner: Person) -> Person | None:
    """Who asks, one of `WHO`."""
    if who in ("nobody", "owner"):
        return owner if who == "owner" else None
    roles = {"moderator": Role.MODERATOR, "admin": Role.ADMIN}
    person = await api.person(role=roles.get(who, Role.MEMBER))
    if who == "deactivated":
        await api.deactivate(person)
    return person


def protected(app: FastAPI) -> set[tuple[str, str]]:
    return {
        (method, path)
        for route, path, methods in census(app.routes)
        if isinstance(route, ProtectedRoute) and not path.startswith("/console")  # test_console.py
        for method in methods
    }


def test_every_protected_route_has_a_row(api: ApiClient) -> None:
    assert protected(api.app) == {(row.method, row.path) for row in ROWS}


async def ask(api: ApiClient, row: Expected, who: str, owner: Person, **ids: object) -> int:
    """The status of the answer to one of `WHO`."""
    person = await somebody(api, who, owner)
    answer = await api.client.request(
        row.method,
        await path_of(row.path, api, owner, **ids),
        headers=person.headers if person else {},
        **await row.request_of(api, person or owner),
    )
    return answer.status_code


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.route)
async def test_every_role_gets_the_expected_status(api: ApiClient, row: Expected) -> None:
    await api.person(role=Role.ADMIN)  # who stays: the last one can't go
    assert row.statuses

    # An owner for each, because a request may remove what was theirs.
    found = {who: await ask(api, row, who, await api.person()) for who in WHO}

    assert found == dict(zip(WHO, row.statuses, strict=True))


@pytest.mark.parametrize(
    "row", [row for row in expected_routes() if row.on_draft], ids=lambda row: row.route
)
async def test_every_role_gets_the_expected_status_on_a_draft(
    api: ApiClient, row: Expected
) -> None:
    assert row.on_draft

    found = {}
    for who in WHO:
        owner = await api.person()
        draft = await api.post(owner, published=False)
        found[who] = await ask(api, row, who, owner, post_id=draft["id"])

    assert found == dict(zip(WHO, row.on_draft, strict=True))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.route)
async def test_every_set_of_scopes_gets_the_expected_status(api: ApiClient, row: Expected) -> None:
    """A token with every scope but the one that the route declares, and one with this scope alone,
    of every role: all other sets have more of the one or less of the other.
    """
    (needed,) = {
        route.scope
        for route, path, methods in census(api.app.routes)
        if isinstance(route, ProtectedRoute) and path == row.path and row.method in methods
    }
    await api.person(role=Role.ADMIN)
    owner = await api.person()
    assert row.statuses
    for who in ("member", "moderator", "admin", "owner"):
        person = await somebody(api, who, owner)
        assert person
        if person is owner:  # whose sessions the admin may have ended
            login = await api.log_in(owner.email)
            person = replace(owner, token=login.json()["access_token"])
        allowed = [it for it in TOKEN_SCOPES if who == "admin" or it is not Scope.ADMIN]
        sets = [[scope for scope in allowed if scope is not needed]]
        sets += [[needed]] if needed in allowed else []
        for scopes in sets:
            token = await api.token(person, *scopes)
            answer = await api.client.request(
                row.method,
                await path_of(row.path, api, owner),
                headers=token.headers,
                **await row.request_of(api, person),
            )
            if needed in scopes:
                assert answer.status_code == row.statuses[WHO.index(who)], answer.text
            elif needed is Scope.SESSION_ONLY:
                problem_of(answer, 403, "session_required")
            else:
                problem_of(answer, 403, "insufficient_scope")
                assert f'scope="{needed.value}"' in answer.headers["WWW-Authenticate"]
