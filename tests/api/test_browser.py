"""The browser's door: cookies, and who may send them."""

from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi.routing import iter_route_contexts

from api.routing import BrowserRoute, ProtectedRoute
from tests.api.authenticator import enrol
from tests.api.client import (
    PASSWORD,
    URL,
    ApiClient,
    Person,
    application,
    client_of,
    on_one_database,
    problem_of,
)
from tests.api.expected import Expected, Options
from tests.api.provocations import from_another_site, with_wrong_credentials

SAME = {"Sec-Fetch-Site": "same-origin"}


async def credentials(api: ApiClient, person: Person) -> Options:
    return {"data": {"username": person.email, "password": PASSWORD}}


ROUTES = [
    Expected(
        operation="log_browser_in",
        route="POST /browser/login",
        request=credentials,
        headers=SAME,
        refusals={401: with_wrong_credentials, 403: from_another_site},
    ),
    Expected(
        operation="log_browser_out",
        route="DELETE /browser/login",
        headers=SAME | {"Cookie": "__Host-session=x"},
        refusals={403: from_another_site},
    ),
]


async def log_in(api: ApiClient, person: Person, **headers: str) -> dict[str, str]:
    """The headers of a browser that has logged in."""
    answer = await api.client.post(
        "/browser/login", headers=SAME | headers, **await credentials(api, person)
    )
    assert answer.status_code == 204, answer.text
    api.client.cookies.clear()  # each test says itself what it sends
    name, _, rest = answer.headers["Set-Cookie"].partition("=")
    return {"Cookie": f"{name}={rest.partition(';')[0]}"}


async def me(api: ApiClient, headers: dict[str, str]) -> httpx.Response:
    return await api.client.get("/users/me", headers=headers)


async def rename(api: ApiClient, headers: dict[str, str]) -> httpx.Response:
    return await api.client.patch("/users/me", json={"name": "Eve"}, headers=headers)


async def test_a_browser_logs_in_by_a_cookie_and_gets_no_token(api: ApiClient) -> None:
    anna = await api.person()

    answer = await api.client.post("/browser/login", headers=SAME, **await credentials(api, anna))

    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["Cache-Control"] == "no-store"
    cookie, *attributes = answer.headers["Set-Cookie"].split("; ")
    assert set(attributes) == {
        "Max-Age=2592000",
        "Path=/",
        "HttpOnly",
        "SameSite=Lax",
        "Secure",
    }
    assert cookie.startswith("__Host-session=")
    answer = await me(api, {"Cookie": cookie})
    assert answer.json()["email"] == anna.email
    assert "Authorization, Cookie" in answer.headers["Vary"]
    assert "Set-Cookie" not in answer.headers


@on_one_database
async def test_over_plain_http_in_development_the_cookie_is_not_secure(api: ApiClient) -> None:
    anna = await api.person()
    app = application(api.ports, plain_cookies=True)
    for scheme, name, secure in (("http", "session", False), ("https", "__Host-session", True)):
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url=f"{scheme}://gate") as client:
            answer = await client.post(
                "/browser/login", headers=SAME, **await credentials(api, anna)
            )
            assert answer.headers["Set-Cookie"].startswith(f"{name}=")
            assert ("Secure" in answer.headers["Set-Cookie"]) is secure
            assert (await client.get("/users/me")).status_code == 200
            assert (await client.patch("/users/me", json={}, headers=SAME)).status_code == 200


@on_one_database
@pytest.mark.parametrize("authorization", ["Basic YTpi", "Bearer x", "Bearer", ""])
async def test_an_authorization_header_switches_the_cookie_off(
    api: ApiClient, authorization: str
) -> None:
    cookie = await log_in(api, await api.person())

    answer = await me(api, cookie | {"Authorization": authorization})

    assert answer.status_code == 401


@on_one_database
async def test_a_token_counts_before_a_cookie_and_needs_no_site(api: ApiClient) -> None:
    anna, bert = await api.person(), await api.person()
    headers = await log_in(api, anna) | bert.headers | {"Sec-Fetch-Site": "cross-site"}

    answer = await rename(api, headers)

    assert (answer.status_code, answer.json()["id"]) == (200, bert.id)
    assert "Authorization, Cookie" in answer.headers["Vary"]


async def test_a_cookie_is_no_token_and_a_token_no_cookie(api: ApiClient) -> None:
    anna = await api.person()
    value = (await log_in(api, anna))["Cookie"].partition("=")[2]

    problem_of(await me(api, {"Authorization": f"Bearer {value}"}), 401, "invalid_token")
    for token in (value, f"cookie:{value}", f"cookie {value}"):
        answer = await api.client.post("/refresh", data={"refresh_token": token})
        problem_of(answer, 401, "invalid_token")
    for token in (anna.token, anna.refresh_token):
        answer = await me(api, {"Cookie": f"__Host-session={token}"})
        problem_of(answer, 401, "invalid_token")


OWN = {"Host": "gatepost", "Origin": URL}
SITES: list[tuple[dict[str, str], bool]] = [
    (SAME, True),
    ({"Sec-Fetch-Site": "same-site"}, False),
    ({"Sec-Fetch-Site": "cross-site"}, False),
    ({"Sec-Fetch-Site": "none"}, False),
    ({"Sec-Fetch-Site": ""}, False),
    ({"Sec-Fetch-Site": "cross-site"} | OWN, False),
    (SAME | {"Origin": "https://evil.example"}, True),
    ({}, False),
    (OWN, True),
    ({"Origin": "https://gatepost"}, True),
    ({"Origin": "https://app.example.com"}, True),
    ({"Origin": "http://gatepost:81"}, False),
    ({"Origin": "http://gatepost.evil.example"}, False),
    ({"Origin": "https://evil.example"}, False),
    ({"Origin": "null"}, False),
    ({"Origin": ""}, False),
    ({"Referer": f"{URL}/"}, False),
]


@on_one_database
@pytest.mark.parametrize(("headers", "is_believed"), SITES)
async def test_a_cookie_changes_something_from_this_site_alone(
    api: ApiClient, headers: dict[str, str], is_believed: bool
) -> None:
    anna = await api.person()
    cookie = await log_in(api, anna)
    ports = {"public_url": "https://app.example.com"}
    app = application(api.ports.__class__(**{**vars(api.ports), **ports}))

    async with client_of(app) as client:
        answers = [
            await client.patch("/users/me", json={"name": "Eve"}, headers=headers | cookie),
            await client.post("/browser/login", headers=headers, **await credentials(api, anna)),
            await client.get("/users/me", headers=headers | cookie),
        ]

    expected = [200, 204, 200] if is_believed else [403, 403, 200]
    assert [answer.status_code for answer in answers] == expected
    if not is_believed:
        for answer in answers[:2]:
            problem_of(answer, 403, "cross_site")
            assert "Set-Cookie" not in answer.headers
    assert answers[2].json()["name"] == ("Eve" if is_believed else "Anna")


@on_one_database
async def test_no_unsafe_route_believes_a_cookie_that_another_site_sent(api: ApiClient) -> None:
    cookie = await log_in(api, await api.person())
    unsafe = [
        (method, route.path or "")
        for route in iter_route_contexts(api.app.routes)
        if isinstance(route.original_route, ProtectedRoute | BrowserRoute)
        for method in (route.methods or set()) - {"GET", "HEAD"}
    ]
    assert ("PATCH", "/users/me") in unsafe
    for method, path in unsafe:
        for site in ({"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example"}, {}):
            url = path.replace("{", "").replace("}", "")
            answer = await api.client.request(method, url, headers=cookie | site)
            assert answer.status_code == 403, path
            assert "from a page of this site alone" in answer.text


@on_one_database
async def test_two_different_cookies_are_refused(api: ApiClient) -> None:
    cookie = (await log_in(api, await api.person()))["Cookie"]
    other = (await log_in(api, await api.person()))["Cookie"]

    assert (await me(api, {"Cookie": f"a=b; {cookie}; {cookie}"})).status_code == 200
    problem_of(await me(api, {"Cookie": f"{cookie}; {other}"}), 401, "invalid_token")
    problem_of(await me(api, {"Cookie": "session=x"}), 401, "not_authenticated")


async def test_a_browser_s_session_lasts_for_as_long_as_it_is_used(api: ApiClient) -> None:
    cookie = await log_in(api, await api.person())

    for days in (20, 20):
        api.clock.ahead += timedelta(days=days)
        answer = await me(api, cookie)
        assert answer.status_code == 200
        assert "Max-Age=2592000" in answer.headers["Set-Cookie"]
        assert answer.headers["Set-Cookie"].startswith(cookie["Cookie"])
        assert "Set-Cookie" not in (await me(api, cookie)).headers
    api.clock.ahead += timedelta(days=31)

    problem_of(await me(api, cookie), 401, "invalid_token")


async def test_logging_out_ends_the_session_on_the_next_request(api: ApiClient) -> None:
    anna = await api.person()
    cookie, other = await log_in(api, anna), await log_in(api, anna)

    for _ in range(2):  # a browser gets rid of a cookie that is worth nothing, too
        answer = await api.client.delete("/browser/login", headers=cookie | SAME)
        assert (answer.status_code, answer.content) == (204, b"")
        assert "Max-Age=0" in answer.headers["Set-Cookie"]
        assert answer.headers["Clear-Site-Data"] == '"cache", "storage"'

    problem_of(await me(api, cookie), 401, "invalid_token")
    assert (await me(api, other)).status_code == 200
    assert (await me(api, anna.headers)).status_code == 200


async def test_a_cookie_stops_working_with_its_user_and_its_session(api: ApiClient) -> None:
    ends: list[Any] = [api.deactivate, api.delete, api.revoke_sessions, api.expire_sessions]
    for end in ends:
        person = await api.person()
        cookie = await log_in(api, person)
        assert (await me(api, cookie)).status_code == 200

        await end(person)

        problem_of(await me(api, cookie), 401, "invalid_token")


async def test_the_second_step_goes_through_the_same_door(api: ApiClient) -> None:
    anna = await api.person()
    app = await enrol(api, anna)
    first = await api.client.post("/browser/login", headers=SAME, **await credentials(api, anna))
    assert first.json()["code"] == "second_factor_required"
    assert "Set-Cookie" not in first.headers
    challenge = first.json()["challenge"]

    for code, site, status in (
        ("000000", "same-origin", 401),
        (app.code(), "cross-site", 403),
        (app.code(), "same-origin", 204),
        (app.code(), "same-origin", 401),
    ):
        answer = await api.client.post(
            "/browser/login",
            json={"challenge": challenge, "code": code},
            headers={"Sec-Fetch-Site": site},
        )
        assert answer.status_code == status, answer.text
        assert ("Set-Cookie" in answer.headers) is (status == 204)
        api.client.cookies.clear()
        if status == 204:
            cookie = answer.headers["Set-Cookie"].partition(";")[0]
    assert (await me(api, {"Cookie": cookie})).json()["id"] == anna.id
    bad: list[Any] = [{}, {"challenge": challenge}, [], {"challenge": "c", "code": "1", "x": 1}]
    for body in bad:
        answer = await api.client.post("/browser/login", json=body, headers=SAME)
        assert answer.status_code == 422


@on_one_database
async def test_with_the_console_off_no_cookie_counts(api: ApiClient) -> None:
    anna = await api.person()
    cookie = await log_in(api, anna)

    async with client_of(application(api.ports, console=False)) as client:
        for method in ("POST", "DELETE"):
            answer = await client.request(method, "/browser/login", headers=SAME | cookie)
            problem_of(answer, 404, "not_found")
            assert "Vary" not in answer.headers
        answer = await client.get("/users/me", headers=cookie)
        problem_of(answer, 401, "not_authenticated")
        assert (await client.get("/users/me/export", headers=anna.headers)).status_code == 200
