"""Administration of accounts, and the audit."""

import asyncio
from typing import Any

import httpx
import pytest

from application.ports.limits import Limit
from domain.users import Role
from tests.api.client import ApiClient, Person, client_of, on_one_database, problem_of
from tests.api.expected import Expected, for_admins
from tests.api.provocations import as_a_member, as_the_last_admin, on_nobody, with_a_foreign_cursor

ROUTES = [
    Expected(
        operation="list_users",
        route="GET /users",
        statuses=for_admins(200),
        refusals={400: with_a_foreign_cursor, 403: as_a_member},
    ),
    Expected(
        operation="change_user",
        route="PATCH /users/{user_id}",
        statuses=for_admins(200),
        request={"json": {"is_active": True}},
        refusals={403: as_a_member, 404: on_nobody, 409: as_the_last_admin},
    ),
    Expected(
        operation="list_events",
        route="GET /audit",
        statuses=for_admins(200),
        refusals={400: with_a_foreign_cursor, 403: as_a_member},
    ),
]


async def change(api: ApiClient, admin: Person, subject: Person, **members: Any) -> httpx.Response:
    return await api.client.patch(f"/users/{subject.id}", json=members, headers=admin.headers)


async def walk(api: ApiClient, path: str, person: Person) -> list[dict[str, Any]]:
    items, url = [], path
    while url:
        answer = await api.client.get(url, headers=person.headers)
        assert answer.status_code == 200
        items += answer.json()
        url = answer.links.get("next", {}).get("url", "")
    return items


async def test_admins_list_all_users_newest_first(api: ApiClient) -> None:
    admin = await api.person(role=Role.ADMIN)
    people = [admin, *[await api.person() for _ in range(4)]]

    users = await walk(api, "/users?limit=2", admin)

    assert [user["id"] for user in users] == [person.id for person in reversed(people)]
    assert users[0] == (await api.me(people[-1])).json()


@on_one_database
async def test_a_cursor_of_another_list_is_refused(api: ApiClient) -> None:
    admin = await api.person(role=Role.ADMIN)
    await api.person()
    first = await api.client.get("/users?limit=1", headers=admin.headers)
    after = httpx.URL(first.links["next"]["url"]).params["after"]

    for path in ("/audit", "/posts"):
        answer = await api.client.get(path, params={"after": after}, headers=admin.headers)
        problem_of(answer, 400, "invalid_cursor")


@on_one_database
@pytest.mark.parametrize("path", ["/users", "/audit"])
async def test_lists_of_users_accept_only_limit_and_cursor(api: ApiClient, path: str) -> None:
    admin = await api.person(role=Role.ADMIN)
    for query in ("limit=0", "limit=101", "sort=newest", "limit=x"):
        answer = await api.client.get(f"{path}?{query}", headers=admin.headers)
        problem_of(answer, 422, "validation_failed")
    answer = await api.client.get(f"{path}?after=x", headers=admin.headers)
    problem_of(answer, 400, "invalid_cursor")


async def test_a_change_of_role_takes_effect_on_the_next_request(api: ApiClient) -> None:
    admin, anna = await api.person(role=Role.ADMIN), await api.person()
    assert (await api.client.get("/users", headers=anna.headers)).status_code == 403

    answer = await change(api, admin, anna, role="admin")

    assert answer.status_code == 200
    assert answer.json() == (await api.me(anna)).json()
    assert answer.json()["role"] == "admin"
    assert (await api.client.get("/users", headers=anna.headers)).status_code == 200
    await change(api, anna, admin, role="member")
    problem_of(await api.client.get("/users", headers=admin.headers), 403, "admins_only")


async def test_a_deactivation_revokes_all_sessions_permanently(
    api: ApiClient,
) -> None:
    admin, anna = await api.person(role=Role.ADMIN), await api.person()
    other = (await api.log_in(anna.email)).json()["access_token"]

    answer = await change(api, admin, anna, is_active=False)

    assert answer.json()["is_active"] is False
    assert (await api.me(anna)).status_code == 401
    assert (await api.log_in(anna.email)).status_code == 401
    assert (await change(api, admin, anna, is_active=True)).json()["is_active"] is True
    for token in (anna.token, other):
        headers = {"Authorization": f"Bearer {token}"}
        problem_of(await api.client.get("/users/me", headers=headers), 401, "invalid_token")
    fresh = (await api.log_in(anna.email)).json()["access_token"]
    headers = {"Authorization": f"Bearer {fresh}"}
    assert (await api.client.get("/users/me", headers=headers)).status_code == 200


@pytest.mark.parametrize("members", [{"role": "member"}, {"is_active": False}])
async def test_the_last_admin_stays_an_admin(api: ApiClient, members: dict[str, Any]) -> None:
    admin, gone = await api.person(role=Role.ADMIN), await api.person(role=Role.ADMIN)
    await api.deactivate(gone)

    problem_of(await change(api, admin, admin, **members), 409, "last_admin")

    assert (await api.me(admin)).json()["role"] == "admin"
    second = await api.person(role=Role.ADMIN)
    assert (await change(api, second, admin, **members)).status_code == 200


@pytest.mark.parametrize("admins", [2, 3])
@pytest.mark.parametrize("members", [{"role": "member"}, {"is_active": False}])
async def test_two_admins_who_demote_each_other_concurrently_leave_one(
    api: ApiClient, admins: int, members: dict[str, Any]
) -> None:
    for _ in range(5):
        people = [await api.person(role=Role.ADMIN) for _ in range(admins)]
        one, two = people[:2]

        answers = await asyncio.gather(
            change(api, one, two, **members), change(api, two, one, **members)
        )

        statuses = sorted(answer.status_code for answer in answers)
        assert statuses[0] == 200
        assert statuses[1] in (401, 403)
        roles = [await api.ports.queries.user(person.id) for person in people]  # type: ignore[arg-type]
        assert sum(u is not None and u.is_active and u.role is Role.ADMIN for u in roles) == (
            admins - 1
        )
        for person in people:
            await api.delete(person)


async def test_an_empty_change_changes_nothing(api: ApiClient) -> None:
    admin, anna = await api.person(role=Role.ADMIN), await api.person()

    answer = await change(api, admin, anna)

    assert answer.json() == (await api.me(anna)).json()


@on_one_database
@pytest.mark.parametrize(
    "members",
    [{"role": None}, {"is_active": None}, {"role": "king"}, {"is_active": 1}, {"email": "a@b.de"}],
)
async def test_an_unknown_role_or_state_is_refused(api: ApiClient, members: dict[str, Any]) -> None:
    admin, anna = await api.person(role=Role.ADMIN), await api.person()

    problem_of(await change(api, admin, anna, **members), 422, "validation_failed")


async def test_an_unknown_user_is_404(api: ApiClient) -> None:
    admin = await api.person(role=Role.ADMIN)

    answer = await api.client.patch("/users/4711", json={"role": "admin"}, headers=admin.headers)

    problem_of(answer, 404, "user_not_found")


async def test_the_audit_names_actor_subject_and_time(api: ApiClient) -> None:
    admin, anna = await api.person(role=Role.ADMIN), await api.person()
    headers = anna.headers | {"X-Request-ID": "mine"}
    body = {"title": "Hello", "content": "First post."}
    post = (await api.client.post("/posts", json=body, headers=headers)).json()
    await change(api, admin, anna, role="moderator", is_active=False)

    events = await walk(api, "/audit?limit=2", admin)

    told = [(event["name"], event["actor_id"], event["subject"]) for event in events[:3]]
    assert told == [
        ("user_deactivated", admin.id, f"user:{anna.id}"),
        ("role_changed", admin.id, f"user:{anna.id}"),
        ("post_written", anna.id, f"post:{post['id']}"),
    ]
    assert events[1]["details"] == {"role": "moderator"}
    assert (events[2]["request_id"], events[2]["ip"]) == ("mine", "127.0.0.1")
    assert events[2]["at"] == post["created_at"]
    assert len({event["id"] for event in events}) == len(events)
    assert "person" not in str(events), "an address"


async def test_the_audit_has_failed_logins_and_exhausted_limits(api: ApiClient) -> None:
    admin, anna = await api.person(role=Role.ADMIN), await api.person()
    form = {"username": anna.email, "password": "wrong"}
    limits: Any = api.ports.limits
    limits.quotas = {Limit.LOGIN_FAILURES: 3}

    async with client_of(api.app, ip="192.0.2.7") as stranger:
        answers = [await stranger.post("/login", data=form) for _ in range(5)]

    assert [answer.status_code for answer in answers] == [401] * 3 + [429] * 2
    events = await walk(api, "/audit?limit=2", admin)
    told = [(event["name"], event["subject"], event["ip"], event["details"]) for event in events]
    assert told[:2] == [
        ("limit_reached", f"user:{anna.id}", "192.0.2.7", {"limit": "login-failures"}),
        ("login_failed", f"user:{anna.id}", "192.0.2.7", {}),
    ]
    assert [event["name"] for event in events].count("login_failed") == 1


async def test_the_audit_can_be_filtered_by_actor_subject_and_name(api: ApiClient) -> None:
    admin, anna, bert = await api.person(role=Role.ADMIN), await api.person(), await api.person()
    post = await api.post(anna)
    await api.post(bert)
    await api.client.delete(f"/posts/{post['id']}", headers=admin.headers)

    def told(events: list[dict[str, Any]]) -> list[str]:
        return [event["name"] for event in events]

    of_anna = await walk(api, f"/audit?limit=1&actor_id={anna.id}", admin)
    assert {event["actor_id"] for event in of_anna} == {anna.id}
    assert told(of_anna) == ["post_written", "logged_in"]
    about = await walk(api, f"/audit?limit=1&subject=post:{post['id']}", admin)
    assert told(about) == ["post_deleted", "post_written"]
    both = await walk(api, f"/audit?subject=post:{post['id']}&name=post_written", admin)
    assert told(both) == ["post_written"]
    assert await walk(api, "/audit?name=nothing_of_the_kind", admin) == []


@on_one_database
@pytest.mark.parametrize("other", ["actor_id=2", "subject=post:2", "name=logged_in", ""])
async def test_a_cursor_of_the_audit_belongs_to_its_filter(api: ApiClient, other: str) -> None:
    admin = await api.person(role=Role.ADMIN)
    for _ in range(2):
        await api.person()
    first = await api.client.get("/audit?limit=1&name=user_registered", headers=admin.headers)
    after = httpx.URL(first.links["next"]["url"]).params["after"]

    answer = await api.client.get(f"/audit?{other}&after={after}", headers=admin.headers)

    problem_of(answer, 400, "invalid_cursor")


@on_one_database
@pytest.mark.parametrize(
    "query",
    ["actor_id=0", "actor_id=x", "subject=", "subject=a%00b", "subject=%ff", "name=", "name=A%20b"],
)
async def test_an_impossible_filter_of_the_audit_is_422(api: ApiClient, query: str) -> None:
    admin = await api.person(role=Role.ADMIN)

    answer = await api.client.get(f"/audit?{query}", headers=admin.headers)

    problem = problem_of(answer, 422, "validation_failed")
    assert [error["loc"] for error in problem["errors"]] == [["query", query.partition("=")[0]]]
