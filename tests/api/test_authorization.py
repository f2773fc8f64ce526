"""Authorization: every protected route, called with every role."""

import pytest
from fastapi import FastAPI

from api.routing import ProtectedRoute
from domain.users import Role
from tests.api.client import ApiClient, Person, on_one_database
from tests.api.expected import WHO, Expected, expected_routes, path_of
from tests.api.test_routes import census

pytestmark = on_one_database

ROWS = [(row, row.statuses, True) for row in expected_routes() if row.statuses]
DRAFTS = [(row, row.on_draft, False) for row in expected_routes() if row.on_draft]


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
    assert protected(api.app) == {(row.method, row.path) for row, _, _ in ROWS}


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize(
    ("row", "statuses", "published"),
    [*ROWS, *DRAFTS],
    ids=[f"{row.route} {published}" for row, _, published in [*ROWS, *DRAFTS]],
)
async def test_every_role_gets_the_expected_status(
    api: ApiClient, row: Expected, statuses: tuple[int, ...], published: bool, who: str
) -> None:
    await api.person(role=Role.ADMIN)  # who stays: the last one can't go
    owner = await api.person()
    person = await somebody(api, who, owner)
    drafts = {} if published else {"post_id": (await api.post(owner, published=False))["id"]}

    answer = await api.client.request(
        row.method,
        await path_of(row.path, api, owner, **drafts),
        headers=person.headers if person else {},
        **await row.request_of(api, person or owner),
    )

    assert answer.status_code == statuses[WHO.index(who)], answer.text
