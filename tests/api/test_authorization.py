"""Who may do what: every protected route, asked by everybody."""

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


async def everybody(gate: ApiClient) -> dict[str, Person | None]:
    """A person of each kind, and an admin who stays."""
    await gate.person(role=Role.ADMIN)
    deactivated = await gate.person()
    await gate.deactivate(deactivated)
    return {
        "nobody": None,
        "member": await gate.person(),
        "owner": await gate.person(),
        "moderator": await gate.person(role=Role.MODERATOR),
        "admin": await gate.person(role=Role.ADMIN),
        "deactivated": deactivated,
    }


def protected(app: FastAPI) -> set[tuple[str, str]]:
    return {
        (method, path)
        for route, path, methods in census(app.routes)
        if isinstance(route, ProtectedRoute)
        for method in methods
    }


def test_every_protected_route_has_a_row(gate: ApiClient) -> None:
    assert protected(gate.app) == {(row.method, row.path) for row, _, _ in ROWS}


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize(
    ("row", "statuses", "published"),
    [*ROWS, *DRAFTS],
    ids=[f"{row.route} {published}" for row, _, published in [*ROWS, *DRAFTS]],
)
async def test_every_role_gets_the_expected_status(
    gate: ApiClient, row: Expected, statuses: tuple[int, ...], published: bool, who: str
) -> None:
    people = await everybody(gate)
    person, owner = people[who], people["owner"]
    assert owner
    drafts = {} if published else {"post_id": (await gate.post(owner, published=False))["id"]}

    answer = await gate.client.request(
        row.method,
        await path_of(row.path, gate, owner, **drafts),
        headers=person.headers if person else {},
        **await row.request_of(gate, person or owner),
    )

    assert answer.status_code == statuses[WHO.index(who)], answer.text
