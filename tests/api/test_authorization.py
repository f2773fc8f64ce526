"""Who may do what: every protected route, asked by everybody."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi import FastAPI

from api.routing import ProtectedRoute
from domain.users import Role
from tests.api.client import PASSWORD, ApiClient, Person, on_one_database
from tests.api.test_routes import census

pytestmark = on_one_database

WHO = ("nobody", "member", "owner", "moderator", "admin", "deactivated")

POST = {"title": "Hello", "content": "Changed."}
DELETION = {"current_password": PASSWORD}
NEW_PASSWORD = {"current_password": PASSWORD, "new_password": "staple battery horse"}

# A row for each: the body that is sent, and the status for each of WHO. What stands in braces
# belongs to the owner: their account, a post and a session of theirs.
MATRIX: dict[tuple[str, str], tuple[Any, tuple[int, ...]]] = {
    ("POST", "/logout"): (None, (401, 204, 204, 204, 204, 401)),
    ("GET", "/sessions"): (None, (401, 200, 200, 200, 200, 401)),
    ("DELETE", "/sessions"): (None, (401, 204, 204, 204, 204, 401)),
    ("DELETE", "/sessions/{session_id}"): (None, (401, 404, 204, 404, 404, 401)),
    ("GET", "/users/me"): (None, (401, 200, 200, 200, 200, 401)),
    ("PATCH", "/users/me"): ({"name": "A"}, (401, 200, 200, 200, 200, 401)),
    ("POST", "/users/me/deletion"): (DELETION, (401, 204, 204, 204, 204, 401)),
    ("PUT", "/users/me/password"): (NEW_PASSWORD, (401, 204, 204, 204, 204, 401)),
    ("POST", "/users/me/verification"): (None, (401, 202, 202, 202, 202, 401)),
    ("GET", "/users"): (None, (401, 403, 403, 403, 200, 401)),
    ("GET", "/users/{user_id}"): (None, (401, 200, 200, 200, 200, 401)),
    ("PATCH", "/users/{user_id}"): ({"role": "moderator"}, (401, 403, 403, 403, 200, 401)),
    ("GET", "/audit"): (None, (401, 403, 403, 403, 200, 401)),
    ("GET", "/posts"): (None, (401, 200, 200, 200, 200, 401)),
    ("POST", "/posts"): (POST, (401, 201, 201, 201, 201, 401)),
    ("GET", "/posts/{post_id}"): (None, (401, 200, 200, 200, 200, 401)),
    ("PUT", "/posts/{post_id}"): (POST, (401, 403, 200, 200, 200, 401)),
    ("PATCH", "/posts/{post_id}"): (POST, (401, 403, 200, 200, 200, 401)),
    ("DELETE", "/posts/{post_id}"): (None, (401, 403, 204, 204, 204, 401)),
    ("PUT", "/posts/{post_id}/vote"): (None, (401, 204, 204, 204, 204, 401)),
    ("DELETE", "/posts/{post_id}/vote"): (None, (401, 204, 204, 204, 204, 401)),
}
# The same for a post that is a draft.
DRAFTS: dict[tuple[str, str], tuple[Any, tuple[int, ...]]] = {
    ("GET", "/posts/{post_id}"): (None, (401, 404, 200, 200, 200, 401)),
    ("PUT", "/posts/{post_id}"): (POST, (401, 404, 200, 200, 200, 401)),
    ("PATCH", "/posts/{post_id}"): (POST, (401, 404, 200, 200, 200, 401)),
    ("DELETE", "/posts/{post_id}"): (None, (401, 404, 204, 204, 204, 401)),
    ("PUT", "/posts/{post_id}/vote"): (None, (401, 404, 204, 204, 204, 401)),
    ("DELETE", "/posts/{post_id}/vote"): (None, (401, 404, 204, 204, 204, 401)),
}


@dataclass(frozen=True)
class World:
    people: dict[str, Person | None]
    path: Callable[[str], str]


async def world_of(gate: ApiClient, *, published: bool) -> World:
    """A new one, with an admin in it who stays."""
    await gate.person(role=Role.ADMIN)
    owner, deactivated = await gate.person(), await gate.person()
    post = await gate.post(owner, published=published)
    await gate.deactivate(deactivated)
    people = {
        "nobody": None,
        "member": await gate.person(),
        "owner": owner,
        "moderator": await gate.person(role=Role.MODERATOR),
        "admin": await gate.person(role=Role.ADMIN),
        "deactivated": deactivated,
    }
    (session,) = (await gate.client.get("/sessions", headers=owner.headers)).json()
    ids = {"user_id": owner.id, "post_id": post["id"], "session_id": session["id"]}
    return World(people, lambda template: template.format(**ids))


def protected(app: FastAPI) -> set[tuple[str, str]]:
    return {
        (method, path)
        for route, path, methods in census(app.routes)
        if isinstance(route, ProtectedRoute)
        for method in methods
    }


def test_every_protected_route_has_a_row(gate: ApiClient) -> None:
    assert protected(gate.app) == set(MATRIX)


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize(
    ("route", "published"),
    [*((route, True) for route in MATRIX), *((route, False) for route in DRAFTS)],
    ids=str,
)
async def test_everybody_is_answered_as_the_matrix_says(
    gate: ApiClient, route: tuple[str, str], published: bool, who: str
) -> None:
    body, statuses = (MATRIX if published else DRAFTS)[route]
    world = await world_of(gate, published=published)
    person = world.people[who]
    method, template = route

    answer = await gate.client.request(
        method,
        world.path(template),
        json=body,
        headers=person.headers if person else {},
    )

    assert answer.status_code == statuses[WHO.index(who)], answer.text
