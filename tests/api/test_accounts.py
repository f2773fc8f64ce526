"""What users do to their own account."""

from typing import Any

import httpx
import pytest

from domain.users import Role
from tests.api.client import PASSWORD, ApiClient, Person, on_one_database, problem_of

NEW = "staple battery horse"


async def change_password(
    gate: ApiClient, person: Person, new: str = NEW, current: str = PASSWORD
) -> httpx.Response:
    body = {"current_password": current, "new_password": new}
    return await gate.client.put("/users/me/password", json=body, headers=person.headers)


async def edit(gate: ApiClient, person: Person, **members: Any) -> httpx.Response:
    return await gate.client.patch("/users/me", json=members, headers=person.headers)


async def delete(gate: ApiClient, person: Person, password: str = PASSWORD) -> httpx.Response:
    body = {"current_password": password}
    return await gate.client.post("/users/me/deletion", json=body, headers=person.headers)


async def again(gate: ApiClient, person: Person, password: str = PASSWORD) -> Person:
    """The person with another session."""
    token = (await gate.log_in(person.email, password)).json()["access_token"]
    return Person(id=person.id, email=person.email, name=person.name, token=token)


# The password


async def test_a_change_of_password_revokes_the_other_sessions(gate: ApiClient) -> None:
    anna, bert = await gate.person(), await gate.person()
    elsewhere = await again(gate, anna)

    answer = await change_password(gate, anna)

    assert (answer.status_code, answer.content) == (204, b"")
    assert (await gate.me(anna)).status_code == 200
    assert (await gate.me(elsewhere)).status_code == 401
    assert (await gate.me(bert)).status_code == 200
    problem_of(await gate.log_in(anna.email), 401, "invalid_credentials")
    assert (await gate.log_in(anna.email, NEW)).status_code == 200


async def test_a_wrong_current_password_changes_nothing(gate: ApiClient) -> None:
    anna = await gate.person()
    elsewhere = await again(gate, anna)

    answers = [
        await change_password(gate, anna, current="another password"),
        await edit(gate, anna, email="new@example.com", current_password="another password"),
        await delete(gate, anna, "another password"),
    ]

    for answer in answers:
        problem_of(answer, 403, "wrong_password")
    assert (await gate.log_in(anna.email)).status_code == 200
    assert (await gate.me(elsewhere)).json()["email"] == anna.email


@on_one_database
@pytest.mark.parametrize("new", ["too short", "x" * 129, "123456789012", "person1@example.com"])
async def test_a_weak_new_password_is_refused(gate: ApiClient, new: str) -> None:
    anna = await gate.person()

    problem_of(await change_password(gate, anna, new), 422, "weak_password")

    assert (await gate.log_in(anna.email)).status_code == 200


@on_one_database
async def test_a_registration_with_a_common_password_is_refused(gate: ApiClient) -> None:
    body = {"email": "anna@example.com", "password": "QWERTY123456"}

    problem = problem_of(await gate.client.post("/users", json=body), 422, "weak_password")

    assert "tried first" in problem["detail"]


# Name and address


async def test_a_name_is_changed_cleared_or_kept(gate: ApiClient) -> None:
    anna = await gate.person(name="Anna")

    assert (await edit(gate, anna)).json()["name"] == "Anna"
    assert (await edit(gate, anna, name=" Hanna ")).json()["name"] == "Hanna"
    cleared = await edit(gate, anna, name=None)
    assert cleared.status_code == 200
    assert cleared.json()["name"] is None
    assert cleared.json() == (await gate.me(anna)).json()


async def test_the_address_of_another_user_is_refused(gate: ApiClient) -> None:
    anna, bert = await gate.person(), await gate.person()

    answer = await edit(gate, anna, email=bert.email.upper(), current_password=PASSWORD)

    problem_of(answer, 409, "email_taken")
    assert (await gate.me(anna)).json()["email"] == anna.email


@on_one_database
@pytest.mark.parametrize(
    "members",
    [
        {"email": "new@example.com"},
        {"email": None, "current_password": PASSWORD},
        {"email": "no address", "current_password": PASSWORD},
        {"email": "new@example.com", "current_password": None},
        {"name": ""},
        {"name": 1},
        {"role": "admin"},
        {"is_verified": True},
        {"password": NEW},
    ],
)
async def test_other_changes_are_refused(gate: ApiClient, members: dict[str, Any]) -> None:
    anna = await gate.person()

    problem_of(await edit(gate, anna, **members), 422, "validation_failed")


# Deletion


async def test_deleting_a_user_removes_everything_of_theirs(gate: ApiClient) -> None:
    anna, bert = await gate.person(), await gate.person()
    post = await gate.post(anna)

    answer = await delete(gate, anna)

    assert (answer.status_code, answer.content) == (204, b"")
    assert (await gate.me(anna)).status_code == 401
    assert (await gate.log_in(anna.email)).status_code == 401
    for path in (f"/users/{anna.id}", f"/posts/{post['id']}"):
        assert (await gate.client.get(path, headers=bert.headers)).status_code == 404
    assert (await gate.client.get("/posts", headers=bert.headers)).json() == []
    await gate.person(anna.email)


async def test_the_last_admin_is_not_deleted(gate: ApiClient) -> None:
    admin = await gate.person(role=Role.ADMIN)

    problem_of(await delete(gate, admin), 409, "last_admin")

    await gate.person(role=Role.ADMIN)
    assert (await delete(gate, admin)).status_code == 204
