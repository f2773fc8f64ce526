"""Registration, and reading users."""

import json
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest

from domain.registrations import RegistrationMode
from domain.users import Role
from tests.api.client import PASSWORD, ApiClient, Person, on_one_database, problem_of
from tests.api.expected import AUTH, Expected, Options, allowed
from tests.api.provocations import (
    as_the_last_admin,
    on_nobody,
    with_a_taken_address,
    with_a_wrong_password,
    with_registration,
)

numbers = count()


async def registration(_gate: ApiClient, _person: Person) -> Options:
    return {"json": {"email": f"new{next(numbers)}@example.com", "password": PASSWORD}}


ROUTES = [
    Expected(
        operation="register",
        route="POST /users",
        request=registration,
        refusals={
            202: with_registration(RegistrationMode.QUIET),
            403: with_registration(RegistrationMode.CLOSED),
            409: with_a_taken_address,
        },
    ),
    Expected(
        operation="read_current_user",
        route="GET /users/me",
        statuses=allowed(200),
        queries=AUTH,
    ),
    Expected(
        operation="edit_current_user",
        route="PATCH /users/me",
        statuses=allowed(200),
        request={"json": {"name": "Anna"}},
        refusals={403: with_a_wrong_password, 409: with_a_taken_address},
    ),
    Expected(
        operation="delete_current_user",
        route="POST /users/me/deletion",
        statuses=allowed(204),
        request={"json": {"current_password": PASSWORD}},
        refusals={403: with_a_wrong_password, 409: as_the_last_admin},
    ),
    Expected(
        operation="change_password",
        route="PUT /users/me/password",
        statuses=allowed(204),
        request={"json": {"current_password": PASSWORD, "new_password": "staple battery horse"}},
        refusals={403: with_a_wrong_password},
    ),
    Expected(
        operation="read_user",
        route="GET /users/{user_id}",
        statuses=allowed(200),
        queries=[*AUTH, "read"],
        refusals={404: on_nobody},
    ),
]


async def user_of(_gate: ApiClient, owner: Person) -> object:
    return owner.id


IDS = {"user_id": user_of}


async def register(api: ApiClient, **members: Any) -> Any:
    body = {"email": "anna@example.com", "password": PASSWORD} | members
    return await api.client.post("/users", json=body)


async def test_a_registration_returns_the_user_without_the_password(
    api: ApiClient,
) -> None:
    before = datetime.now(UTC)

    answer = await register(api, name="Anna")

    assert answer.status_code == 201
    user = answer.json()
    created_at = datetime.fromisoformat(user.pop("created_at"))
    assert before <= created_at <= datetime.now(UTC)
    assert user == {
        "id": user["id"],
        "email": "anna@example.com",
        "name": "Anna",
        "role": "member",
        "is_active": True,
        "is_verified": False,
        "second_factor": False,
        "pending_email": None,
    }
    assert answer.headers["Location"] == f"/users/{user['id']}"


async def test_the_location_of_a_new_user_can_be_read(api: ApiClient) -> None:
    registered = await register(api, name="Anna")
    token = (await api.log_in("anna@example.com")).json()["access_token"]

    answer = await api.client.get(
        registered.headers["Location"], headers={"Authorization": f"Bearer {token}"}
    )

    assert answer.json() == registered.json()


@pytest.mark.parametrize("name", [{}, {"name": None}])
async def test_a_missing_name_is_null(api: ApiClient, name: dict[str, None]) -> None:
    assert (await register(api, **name)).json()["name"] is None


async def test_a_name_is_trimmed_and_may_have_any_script(api: ApiClient) -> None:
    assert (await register(api, name="  Åsa 李 🦊 ")).json()["name"] == "Åsa 李 🦊"


@on_one_database
@pytest.mark.parametrize("again", ["anna@example.com", "ANNA@EXAMPLE.COM", "Anna@Example.Com"])
async def test_an_address_is_taken_regardless_of_case(api: ApiClient, again: str) -> None:
    await api.person("anna@example.com")

    problem = problem_of(await register(api, email=again), 409, "email_taken")

    assert problem["detail"] == "An account with this e-mail address exists already"


async def test_addresses_outside_ascii_compare_without_case(api: ApiClient) -> None:
    await api.person("ärger@exämple.com")

    problem_of(await register(api, email="ÄRGER@EXÄMPLE.COM"), 409, "email_taken")


async def test_addresses_equal_only_by_case_folding_are_two_accounts(
    api: ApiClient,
) -> None:
    for email in ("strasse@example.com", "straße@example.com", "v@fass.example", "v@faß.example"):
        user = (await register(api, email=email)).json()

        login = await api.log_in(email)
        headers = {"Authorization": f"Bearer {login.json()['access_token']}"}
        assert (await api.client.get("/users/me", headers=headers)).json() == user


@on_one_database
@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("Anna.Maria+posts@Example.COM", "Anna.Maria+posts@example.com"),
        ("o'neil@mail.example.co.uk", "o'neil@mail.example.co.uk"),
        ("ärger@exämple.com", "ärger@exämple.com"),
        ("e\u0301@example.com", "\u00e9@example.com"),
        (" anna@example.com\n", "anna@example.com"),
        (f"{'a' * 64}@example.com", f"{'a' * 64}@example.com"),
    ],
)
async def test_an_address_keeps_its_spelling_except_insignificant_parts(
    api: ApiClient, sent: str, kept: str
) -> None:
    answer = await register(api, email=sent)

    assert answer.status_code == 201, answer.text
    assert answer.json()["email"] == kept
    for email in (sent, kept):
        assert (await api.log_in(email)).status_code == 200


@on_one_database
@pytest.mark.parametrize(
    "email",
    [
        "anna",
        "anna@",
        "@example.com",
        "anna@localhost",
        "anna@example",
        "anna..b@example.com",
        "anna b@example.com",
        "Anna <anna@example.com>",
        "anna@[127.0.0.1]",
        "anna@exa_mple.com",
        "anna@example.com, bert@example.com",
        f"{'a' * 65}@example.com",
        f"{'a' * 250}@example.com",
        "",
    ],
)
async def test_what_is_no_address_is_refused(api: ApiClient, email: str) -> None:
    problem = problem_of(await register(api, email=email), 422, "validation_failed")

    assert [error["loc"] for error in problem["errors"]] == [["body", "email"]]


@on_one_database
@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("elevenchars", "12 to 128 characters"),
        ("x1" * 64 + "y", "12 to 128 characters"),
        ("", "12 to 128 characters"),
        ("😀" * 11, "12 to 128 characters"),
        ("anna@example.com", "e-mail address"),
        ("Anna-Anna-2026", "e-mail address"),
    ],
)
async def test_a_weak_password_is_refused_with_the_reason(
    api: ApiClient, password: str, reason: str
) -> None:
    problem = problem_of(await register(api, password=password), 422, "weak_password")

    assert reason in problem["detail"]


@on_one_database
@pytest.mark.parametrize(
    "password", ["twelve chars", "é" * 128, "  spaces on both sides  ", "🦊" * 12]
)
async def test_a_password_of_12_to_128_arbitrary_characters_logs_in(
    api: ApiClient, password: str
) -> None:
    assert (await register(api, password=password)).status_code == 201

    assert (await api.log_in("anna@example.com", password)).status_code == 200


async def test_every_character_of_a_password_counts_even_after_a_nul(api: ApiClient) -> None:
    password = "before the NUL\0" + "x" * 100
    await register(api, password=password)

    assert (await api.log_in("anna@example.com", password)).status_code == 200
    answer = await api.log_in("anna@example.com", password[:-1] + "y")
    problem_of(answer, 401, "invalid_credentials")


@on_one_database
@pytest.mark.parametrize(
    "member", ["role", "owner_id", "is_active", "is_verified", "id", "password_hash", "votes"]
)
async def test_an_unknown_member_is_refused_and_not_named(api: ApiClient, member: str) -> None:
    answer = await register(api, **{member: "admin"})

    problem = problem_of(answer, 422, "validation_failed")
    assert problem["errors"] == [
        {"loc": ["body"], "msg": "Extra inputs are not permitted", "type": "extra_forbidden"}
    ]
    assert (await api.log_in("anna@example.com")).status_code == 401


@on_one_database
@pytest.mark.parametrize(
    ("body", "locations"),
    [
        ({}, [["body", "email"], ["body", "password"]]),
        ({"email": "anna@example.com"}, [["body", "password"]]),
        ({"email": None, "password": PASSWORD}, [["body", "email"]]),
        (
            {"email": 1, "password": 2, "name": 3},
            [["body", p] for p in ("email", "password", "name")],
        ),
        (
            {"email": ["anna@example.com"], "password": {"a": 1}},
            [["body", "email"], ["body", "password"]],
        ),
        ([], [["body"]]),
        ("anna@example.com", [["body"]]),
        (None, [["body"]]),
        (True, [["body"]]),
    ],
)
async def test_values_of_another_type_are_refused_with_their_location(
    api: ApiClient, body: object, locations: list[list[str]]
) -> None:
    answer = await api.client.post(
        "/users", content=json.dumps(body), headers={"Content-Type": "application/json"}
    )

    problem = problem_of(answer, 422, "validation_failed")
    assert [error["loc"] for error in problem["errors"]] == locations


@on_one_database
@pytest.mark.parametrize("name", ["", "   ", "x" * 101])
async def test_an_empty_or_overlong_name_is_refused(api: ApiClient, name: str) -> None:
    problem = problem_of(await register(api, name=name), 422, "validation_failed")

    assert problem["errors"][0]["loc"] == ["body", "name"]


async def test_the_current_user_is_the_user_of_the_token(api: ApiClient) -> None:
    anna, bert = await api.person(name="Anna"), await api.person(name=None)

    for person in (anna, bert):
        user = (await api.me(person)).json()
        assert (user["id"], user["email"], user["name"]) == (person.id, person.email, person.name)


async def test_the_current_user_is_read_from_storage_on_every_request(api: ApiClient) -> None:
    anna = await api.person()
    assert (await api.me(anna)).json()["role"] == "member"

    await api.set_role(anna, Role.ADMIN)

    assert (await api.me(anna)).json()["role"] == "admin"


WHOLE = {
    *("id", "email", "pending_email", "name", "role", "is_active", "is_verified", "second_factor"),
    "created_at",
}
PUBLIC = {"id", "name", "created_at"}


@on_one_database
@pytest.mark.parametrize(
    ("role", "members"),
    [(Role.MEMBER, PUBLIC), (Role.MODERATOR, PUBLIC), (Role.ADMIN, WHOLE)],
)
async def test_other_users_see_only_the_name_and_admins_see_everything(
    api: ApiClient, role: Role, members: set[str]
) -> None:
    anna, other = await api.person(), await api.person(role=role)

    answer = await api.client.get(f"/users/{anna.id}", headers=other.headers)

    assert answer.status_code == 200
    assert set(answer.json()) == members
    assert answer.json()["id"] == anna.id


async def test_users_see_all_their_own_fields(api: ApiClient) -> None:
    anna = await api.person()

    answer = await api.client.get(f"/users/{anna.id}", headers=anna.headers)

    assert answer.json() == (await api.me(anna)).json()
    assert set(answer.json()) == WHOLE


async def test_an_unknown_user_is_404(api: ApiClient) -> None:
    anna = await api.person()

    answer = await api.client.get("/users/4711", headers=anna.headers)

    problem = problem_of(answer, 404, "user_not_found")
    assert problem["detail"] == "User with id: 4711 was not found"
