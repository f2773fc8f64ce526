"""Changes of the own account."""

from typing import Any

import httpx
import pytest

from domain.users import Role
from tests.api.client import PASSWORD, ApiClient, Person, on_one_database, problem_of

NEW = "staple battery horse"


async def change_password(
    api: ApiClient, person: Person, new: str = NEW, current: str = PASSWORD
) -> httpx.Response:
    body = {"current_password": current, "new_password": new}
    return await api.client.put("/users/me/password", json=body, headers=person.headers)


async def edit(api: ApiClient, person: Person, **members: Any) -> httpx.Response:
    return await api.client.patch("/users/me", json=members, headers=person.headers)


async def delete(api: ApiClient, person: Person, password: str = PASSWORD) -> httpx.Response:
    body = {"current_password": password}
    return await api.client.post("/users/me/deletion", json=body, headers=person.headers)


async def again(api: ApiClient, person: Person, password: str = PASSWORD) -> Person:
    """The person with another session."""
    token = (await api.log_in(person.email, password)).json()["access_token"]
    return Person(id=person.id, email=person.email, name=person.name, token=token)


# The password


async def test_a_change_of_password_revokes_the_other_sessions(api: ApiClient) -> None:
    anna, bert = await api.person(), await api.person()
    elsewhere = await again(api, anna)

    answer = await change_password(api, anna)

    assert (answer.status_code, answer.content) == (204, b"")
    assert (await api.me(anna)).status_code == 200
    assert (await api.me(elsewhere)).status_code == 401
    assert (await api.me(bert)).status_code == 200
    problem_of(await api.log_in(anna.email), 401, "invalid_credentials")
    assert (await api.log_in(anna.email, NEW)).status_code == 200


async def test_a_wrong_current_password_changes_nothing(api: ApiClient) -> None:
    anna = await api.person()
    elsewhere = await again(api, anna)

    answers = [
        await change_password(api, anna, current="another password"),
        await edit(api, anna, email="new@example.com", current_password="another password"),
        await delete(api, anna, "another password"),
    ]

    for answer in answers:
        problem_of(answer, 403, "wrong_password")
    assert (await api.log_in(anna.email)).status_code == 200
    assert (await api.me(elsewhere)).json()["email"] == anna.email


@on_one_database
@pytest.mark.parametrize("new", ["too short", "x" * 129, "123456789012", "person1@example.com"])
async def test_a_weak_new_password_is_refused(api: ApiClient, new: str) -> None:
    anna = await api.person()

    problem_of(await change_password(api, anna, new), 422, "weak_password")

    assert (await api.log_in(anna.email)).status_code == 200


@on_one_database
async def test_a_registration_with_a_common_password_is_refused(api: ApiClient) -> None:
    body = {"email": "anna@example.com", "password": "QWERTY123456"}

    problem = problem_of(await api.client.post("/users", json=body), 422, "weak_password")

    assert "tried first" in problem["detail"]


# Name and address


async def test_a_name_is_changed_cleared_or_kept(api: ApiClient) -> None:
    anna = await api.person(name="Anna")

    assert (await edit(api, anna)).json()["name"] == "Anna"
    assert (await edit(api, anna, name=" Hanna ")).json()["name"] == "Hanna"
    cleared = await edit(api, anna, name=None)
    assert cleared.status_code == 200
    assert cleared.json()["name"] is None
    assert cleared.json() == (await api.me(anna)).json()


async def test_the_address_of_another_user_is_refused(api: ApiClient) -> None:
    anna, bert = await api.person(), await api.person()

    answer = await edit(api, anna, email=bert.email.upper(), current_password=PASSWORD)

    problem_of(answer, 409, "email_taken")
    assert (await api.me(anna)).json()["email"] == anna.email


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
async def test_other_changes_are_refused(api: ApiClient, members: dict[str, Any]) -> None:
    anna = await api.person()

    problem_of(await edit(api, anna, **members), 422, "validation_failed")


# Deletion


async def test_deleting_a_user_removes_everything_of_theirs(api: ApiClient) -> None:
    anna, bert = await api.person(), await api.person()
    post = await api.post(anna)

    answer = await delete(api, anna)

    assert (answer.status_code, answer.content) == (204, b"")
    assert (await api.me(anna)).status_code == 401
    assert (await api.log_in(anna.email)).status_code == 401
    for path in (f"/users/{anna.id}", f"/posts/{post['id']}"):
        assert (await api.client.get(path, headers=bert.headers)).status_code == 404
    assert (await api.client.get("/posts", headers=bert.headers)).json() == []
    await api.person(anna.email)


async def test_the_last_admin_is_not_deleted(api: ApiClient) -> None:
    admin = await api.person(role=Role.ADMIN)

    problem_of(await delete(api, admin), 409, "last_admin")

    await api.person(role=Role.ADMIN)
    assert (await delete(api, admin)).status_code == 204
