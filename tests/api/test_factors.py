"""Strong login: fresh sessions, the authenticator app and recovery codes."""

import re
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from fastapi import FastAPI
from pydantic import BaseModel

from api.app import create_app
from api.dependencies import FreshUser
from api.routing import protected_router
from domain.factors import FactorPolicy
from domain.scopes import TOKEN_SCOPES, Scope
from domain.users import Role
from tests.api.authenticator import (
    assert_stale,
    assert_wrong,
    challenge_of,
    enrol,
    log_in,
    prove,
    second_step,
    start,
)
from tests.api.caller import Caller
from tests.api.client import (
    ApiClient,
    Person,
    Watch,
    on_one_database,
    open_gate,
    problem_of,
)
from tests.api.expected import (
    AUTH,
    Expected,
    Options,
    allowed,
    expected_routes,
    for_admins,
    path_of,
)
from tests.api.provocations import as_a_member, on_nobody
from tests.fakes.ports import fake_ports


async def a_code(api: ApiClient, person: Person) -> Options:
    answer = await api.client.post("/users/me/totp", headers=person.headers)
    if answer.status_code != 201:
        return {"json": {"code": "123456"}}
    return {"json": {"code": (await start(api, person)).code()}}


async def with_a_fresh_factor(api: ApiClient, person: Person) -> Options:
    """Give the person a second factor that was proved."""
    if (await api.me(person)).status_code == 200:
        app = await enrol(api, person)
        assert (await prove(api, person, code=app.code())).status_code == 204
    return {}


async def with_an_app(caller: Caller, name: str) -> httpx.Response:
    app = await enrol(caller.api, caller.anna)
    await prove(caller.api, caller.anna, code=app.code())
    return await caller.call(name, json={"code": "123456"} if name == "confirm_totp" else {})


async def without_a_factor(caller: Caller, name: str) -> httpx.Response:
    return await caller.client.post("/users/me/recovery-codes", headers=caller.anna.headers)


ROUTES = [
    Expected(
        operation="read_factors",
        route="GET /users/me/factors",
        statuses=allowed(200),
        queries=[*AUTH, "read", "read"],  # the app and its codes; passkeys
    ),
    Expected(
        operation="start_totp",
        route="POST /users/me/totp",
        statuses=allowed(201),
        refusals={409: with_an_app},
    ),
    Expected(
        operation="confirm_totp",
        route="PUT /users/me/totp",
        statuses=allowed(200),
        request=a_code,
        refusals={409: with_an_app},
    ),
    Expected(operation="remove_totp", route="DELETE /users/me/totp", statuses=allowed(204)),
    Expected(
        operation="make_recovery_codes",
        route="POST /users/me/recovery-codes",
        statuses=allowed(201),
        request=with_a_fresh_factor,
        refusals={409: without_a_factor},
    ),
    Expected(
        operation="remove_factors",
        route="DELETE /users/{user_id}/factors",
        statuses=for_admins(204),
        refusals={403: as_a_member, 404: on_nobody},
    ),
    Expected(
        operation="list_sessions_of_user",
        route="GET /users/{user_id}/sessions",
        statuses=for_admins(200),
        refusals={403: as_a_member, 404: on_nobody},
    ),
    Expected(
        operation="end_sessions_of_user",
        route="DELETE /users/{user_id}/sessions",
        statuses=for_admins(204),
        refusals={403: as_a_member, 404: on_nobody},
    ),
]

router = protected_router("test")


class Body(BaseModel):
    number: int


@router.post("/fresh", scope=Scope.SESSION_ONLY, responses={401: {}})
async def fresh(body: Body, user: FreshUser) -> int:
    return user.id + body.number


def app_with_a_fresh_route() -> FastAPI:
    app = create_app(fake_ports(), cursor_keys=[b"k" * 32])
    app.include_router(router)
    return app


@on_one_database
async def test_a_stale_session_is_refused_before_its_body_is_looked_at(
    database_url: str, clock: Watch
) -> None:
    async with open_gate(database_url, clock=clock, app=app_with_a_fresh_route()) as api:
        anna = await api.person()

        def call(body: object) -> Awaitable[httpx.Response]:
            return api.client.post("/fresh", json=body, headers=anna.headers)

        answer = await call({"number": 1})
        assert (answer.status_code, answer.json()) == (200, anna.id + 1)
        assert (await call({"number": "one"})).status_code == 422

        clock.ahead = timedelta(seconds=601)
        for body in ({"number": 1}, {"number": "one"}):
            answer = await call(body)
            problem_of(answer, 401, "stale_login")
            assert answer.headers["WWW-Authenticate"] == (
                'Bearer error="insufficient_user_authentication", max_age="600"'
            )
        assert (await api.me(anna)).status_code == 200


def test_a_fresh_route_says_so_in_its_document() -> None:
    operation = app_with_a_fresh_route().openapi()["paths"]["/fresh"]["post"]

    assert "StaleLoginProblem" in str(operation["responses"]["401"])


async def test_an_app_is_added_confirmed_and_asked_for(api: ApiClient) -> None:
    anna = await api.person()
    assert (await api.me(anna)).json()["second_factor"] is False
    assert await factors(api, anna) == {"totp": None, "recovery_codes_left": 0, "passkeys": []}

    answer = await api.client.post("/users/me/totp", headers=anna.headers)

    assert answer.headers["Cache-Control"] == "no-store"
    enrolment = answer.json()
    uri = urlsplit(enrolment["otpauth_uri"])
    assert parse_qs(uri.query)["secret"] == [enrolment["secret"]]
    assert re.match(r"<svg .*</svg>$", enrolment["qr_svg"], re.DOTALL)
    # It is not in force before it is confirmed.
    assert (await api.log_in(anna.email)).status_code == 200

    app = await enrol(api, anna)

    assert (await api.me(anna)).json()["second_factor"] is True
    shown = await factors(api, anna)
    assert shown["totp"]["confirmed_at"]
    assert shown["recovery_codes_left"] == 10
    assert len(set(app.recovery_codes)) == 10
    problem = await challenge_of(api, anna.email)
    assert (problem["methods"], problem["expires_in"]) == (["totp", "recovery_code"], 300)
    assert await methods(api, await log_in(api, anna, app)) == ["pwd", "otp"]


async def factors(api: ApiClient, person: Person) -> Any:
    return (await api.client.get("/users/me/factors", headers=person.headers)).json()


async def methods(api: ApiClient, person: Person) -> list[str]:
    sessions = (await api.client.get("/sessions", headers=person.headers)).json()
    (found,) = [session["methods"] for session in sessions if session["current"]]
    return list(found)


@on_one_database
async def test_enrolment_refuses_wrong_codes_and_a_second_app(api: ApiClient) -> None:
    anna = await api.person()

    async def confirm(code: str) -> httpx.Response:
        return await api.client.put("/users/me/totp", json={"code": code}, headers=anna.headers)

    problem_of(await confirm("123456"), 422, "wrong_code")  # before there is a secret
    first, app = await start(api, anna), await start(api, anna)
    for code in ("000000", "abcdef", "1", first.code()):
        problem_of(await confirm(code), 422, "wrong_code")
    code = app.code()
    assert (await confirm(code)).status_code == 200

    problem_of(await confirm(app.code()), 409, "totp_exists")
    assert_stale(await api.client.post("/users/me/totp", headers=anna.headers))
    assert (await prove(api, anna, code=app.code())).status_code == 204
    answer = await api.client.post("/users/me/totp", headers=anna.headers)
    problem_of(answer, 409, "totp_exists")


async def test_the_confirming_code_logs_nobody_in(api: ApiClient) -> None:
    anna = await api.person()
    app = await start(api, anna)
    code = app.code()
    await api.client.put("/users/me/totp", json={"code": code}, headers=anna.headers)

    challenge = (await challenge_of(api, anna.email))["challenge"]

    assert_wrong(await second_step(api, challenge, code))


async def test_recovery_codes_log_in_once_in_any_spelling(api: ApiClient) -> None:
    anna = await api.person()
    app = await enrol(api, anna)
    first, second, *_ = app.recovery_codes

    async def log_in_by(code: str) -> httpx.Response:
        return await second_step(api, (await challenge_of(api, anna.email))["challenge"], code)

    assert (await log_in_by(first)).status_code == 200
    assert (await log_in_by(second.upper().replace("-", " "))).status_code == 200
    for code in (first, second):
        assert_wrong(await log_in_by(code))
    assert (await factors(api, anna))["recovery_codes_left"] == 8


async def test_new_recovery_codes_replace_the_old_ones(api: ApiClient) -> None:
    anna = await api.person()
    app = await enrol(api, anna)
    await prove(api, anna, code=app.code())

    answer = await api.client.post("/users/me/recovery-codes", headers=anna.headers)

    assert (answer.status_code, answer.headers["Cache-Control"]) == (201, "no-store")
    new = answer.json()["recovery_codes"]
    assert not set(new) & set(app.recovery_codes)
    challenge = (await challenge_of(api, anna.email))["challenge"]
    assert_wrong(await second_step(api, challenge, app.recovery_codes[0]))
    assert (await second_step(api, challenge, new[0])).status_code == 200


async def test_a_password_alone_logs_in_after_the_last_factor_was_removed(api: ApiClient) -> None:
    anna = await api.person()
    app = await enrol(api, anna)
    assert_stale(await api.client.delete("/users/me/totp", headers=anna.headers))
    await prove(api, anna, code=app.code())

    answer = await api.client.delete("/users/me/totp", headers=anna.headers)

    assert answer.status_code == 204
    assert await factors(api, anna) == {"totp": None, "recovery_codes_left": 0, "passkeys": []}
    assert (await api.me(anna)).json()["second_factor"] is False
    assert (await api.log_in(anna.email)).status_code == 200


async def test_an_admin_removes_the_factors_of_one_who_has_lost_them(api: ApiClient) -> None:
    anna, admin = await api.person(), await api.person(role=Role.ADMIN)
    app = await enrol(api, anna)
    challenge = (await challenge_of(api, anna.email))["challenge"]

    path = f"/users/{anna.id}/factors"
    answer = await api.client.delete(path, headers=admin.headers)

    assert answer.status_code == 204
    assert (await api.me(anna)).status_code == 401
    assert_wrong(await second_step(api, challenge, app.code()))
    assert_wrong(await second_step(api, challenge, app.recovery_codes[0]))
    assert (await api.log_in(anna.email)).status_code == 200
    events = (await api.client.get("/audit?name=factors_removed", headers=admin.headers)).json()
    assert [(event["actor_id"], event["subject"]) for event in events] == [
        (admin.id, f"user:{anna.id}")
    ]
    api.clock.ahead += timedelta(seconds=601)
    assert_stale(await api.client.delete(path, headers=admin.headers))


@on_one_database
async def test_an_admin_sees_and_ends_the_sessions_of_a_user(api: ApiClient) -> None:
    anna, bert = await api.person(), await api.person()
    admin = await api.person(role=Role.ADMIN)
    await api.log_in(anna.email)
    path = f"/users/{anna.id}/sessions"

    sessions = (await api.client.get(path, headers=admin.headers)).json()
    assert [session["current"] for session in sessions] == [False, False]
    assert (await api.client.delete(path, headers=admin.headers)).status_code == 204

    assert (await api.client.get(path, headers=admin.headers)).json() == []
    assert (await api.me(anna)).status_code == 401
    assert (await api.me(bert)).status_code == 200


OPEN_WITHOUT = {
    "GET /users/me",
    "GET /users/me/factors",
    "POST /users/me/totp",
    "PUT /users/me/totp",
    "DELETE /users/me/totp",
    "POST /users/me/recovery-codes",
    "POST /sessions/current/proof",
    "GET /sessions",
    "DELETE /sessions",
    "DELETE /sessions/{session_id}",
    "POST /logout",
}
"""What users may do who lack a second factor that they must have."""


@on_one_database
async def test_without_a_required_factor_only_enrolment_is_open(database_url: str) -> None:
    policy = FactorPolicy(required_of=frozenset({Role.MODERATOR}))
    async with open_gate(database_url, policy=policy) as api:
        owner = await api.person()
        open_routes: dict[Role, set[str]] = {}
        for role in (Role.MEMBER, Role.MODERATOR):
            open_routes[role] = set()
            for row in protected_routes():
                person = await api.person(role=role)
                answer = await api.client.request(
                    row.method, await path_of(row.path, api, owner), headers=person.headers
                )
                if "second_factor_needed" not in answer.text:
                    open_routes[role].add(row.route)

        everything = {row.route for row in protected_routes()}
        passkeys = {route for route in everything if "/users/me/passkeys" in route}
        assert open_routes == {Role.MEMBER: everything, Role.MODERATOR: OPEN_WITHOUT | passkeys}


def protected_routes() -> list[Expected]:
    return [row for row in expected_routes() if row.statuses]


@on_one_database
async def test_a_required_factor_opens_the_rest(database_url: str) -> None:
    policy = FactorPolicy(required_of=frozenset(Role))
    async with open_gate(database_url, policy=policy) as api:
        anna = await api.person()
        problem_of(
            await api.client.get("/posts", headers=anna.headers), 403, "second_factor_needed"
        )

        await enrol(api, anna)

        assert (await api.client.get("/posts", headers=anna.headers)).status_code == 200


@on_one_database
async def test_a_personal_token_of_one_who_lacks_a_required_factor_does_what_its_owner_may(
    database_url: str,
) -> None:
    policy = FactorPolicy(required_of=frozenset({Role.MODERATOR}))
    async with open_gate(database_url, policy=policy) as api:
        owner, anna, moderator = [await api.person() for _ in range(3)]
        scopes = [scope for scope in TOKEN_SCOPES if scope is not Scope.ADMIN]
        scripts = [await api.token(person, *scopes) for person in (anna, moderator)]
        await api.set_role(moderator, Role.MODERATOR)
        needed = {script.id: set[str]() for script in scripts}
        for row in protected_routes():
            for script in scripts:
                answer = await api.client.request(
                    row.method, await path_of(row.path, api, owner), headers=script.headers
                )
                if answer.status_code == 403 and answer.json()["code"] == "second_factor_needed":
                    needed[script.id].add(row.route)

        assert needed[anna.id] == set()
        assert {"GET /posts", "POST /posts", "GET /users/me/export"} <= needed[moderator.id]
        assert not needed[moderator.id] & OPEN_WITHOUT


@on_one_database
async def test_strong_login_can_be_switched_off(database_url: str) -> None:
    async with open_gate(database_url) as api:
        anna = await api.person()
        app = await enrol(api, anna)
    async with open_gate(database_url, policy=FactorPolicy(fresh_for=None)) as api:
        assert (await api.log_in(anna.email)).status_code == 200
        for row in ROUTES:
            answer = await api.client.request(
                row.method, row.path.format(user_id=anna.id), headers=anna.headers
            )
            assert answer.status_code in (404, 405), row
        answer = await second_step(api, "challenge", app.recovery_codes[0])
        problem_of(answer, 404, "not_found")
