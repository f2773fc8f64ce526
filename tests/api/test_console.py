"""The console's pages, as a browser without scripts uses them."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from html import escape, unescape
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from fastapi import FastAPI

from api.console.rendering import local_path
from domain.users import Role
from infrastructure.database.queries import SqlQueries
from infrastructure.database.unit_of_work import SqlStorage
from tests.api.client import (
    PASSWORD,
    URL,
    ApiClient,
    Person,
    application,
    on_one_database,
)
from tests.api.test_one_time_codes import ask_for_verification, ask_to_move, delivered
from tests.api.test_query_counts import Counted

pytestmark = on_one_database

SAME = {"Sec-Fetch-Site": "same-origin"}
NEW_PASSWORD = "staple battery horse"
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=y>&amp;{{7*7}}"


@dataclass
class Browser:
    client: httpx.AsyncClient

    async def see(self, path: str) -> httpx.Response:
        return await self.client.get(path)

    async def send(self, path: str, **fields: str) -> httpx.Response:
        return await self.client.post(path, data=fields, headers=SAME)

    async def log_in(self, email: str, password: str = PASSWORD) -> httpx.Response:
        return await self.send("/console/login", username=email, password=password)


@pytest.fixture
async def browser(api: ApiClient) -> AsyncIterator[Browser]:
    """A browser over plain http, as in development."""
    app = application(api.ports, plain_cookies=True)
    async with browser_of(app) as browser:
        yield browser


@asynccontextmanager
async def browser_of(app: FastAPI) -> AsyncIterator[Browser]:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=URL) as client:
        client.headers["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64) Firefox/146.0"
        yield Browser(client)


def leads_to(answer: httpx.Response, path: str) -> None:
    assert answer.status_code == 303, answer.text
    assert answer.headers["Location"].partition("?")[0] == path, answer.headers["Location"]


async def test_somebody_registers_and_is_logged_in(api: ApiClient, browser: Browser) -> None:
    answer = await browser.send(
        "/console/register", name="Anna", email="anna@example.com", password=PASSWORD
    )

    leads_to(answer, "/console")
    page = await browser.see(answer.headers["Location"])
    assert "anna@example.com" in page.text
    assert "Welcome" in page.text


async def test_a_refused_registration_keeps_what_was_entered_but_the_password(
    browser: Browser,
) -> None:
    for email, password, status, message in (
        ("anna@example.com", "short", 422, "password"),
        ("not an address", PASSWORD, 422, "This is no e-mail address."),
    ):
        answer = await browser.send(
            "/console/register", name="Anna", email=email, password=password
        )
        assert answer.status_code == status
        assert message in answer.text
        assert f'value="{email}"' in answer.text
        assert password not in answer.text.replace("password", "")


async def test_login_leads_back_and_a_wrong_password_does_not_log_in(
    api: ApiClient, browser: Browser
) -> None:
    anna = await api.person()
    leads_to(await browser.see("/console/security"), "/console/login")

    answer = await browser.log_in(anna.email, "wrong")
    assert answer.status_code == 401
    assert "Incorrect username or password" in answer.text
    assert "WWW-Authenticate" not in answer.headers
    assert "Set-Cookie" not in answer.headers

    answer = await browser.send(
        "/console/login", username=anna.email, password=PASSWORD, **{"return": "/console/security"}
    )
    leads_to(answer, "/console/security")
    assert (await browser.see("/console/security")).status_code == 200
    leads_to(await browser.see("/console/login"), "/console")


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example",
        "https://evil.example/console",
        "/console//evil.example",
        "/console/../../evil",
        "/console\\evil",
        "/consoles",
        "/console\r\nSet-Cookie: a=b",
        "javascript:alert(1)",
        "/console@evil.example",
        "",
        "/posts",
    ],
)
async def test_return_leads_to_pages_of_the_console_alone(
    api: ApiClient, browser: Browser, path: str
) -> None:
    anna = await api.person()

    answer = await browser.send(
        "/console/login", username=anna.email, password=PASSWORD, **{"return": path}
    )

    leads_to(answer, "/console")
    assert local_path("/console/audit?subject=user%3A7&name=x") != "/console"


async def test_the_profile_password_and_address_change_as_through_the_api(
    api: ApiClient, browser: Browser
) -> None:
    anna = await api.person()
    await browser.log_in(anna.email)

    leads_to(await browser.send("/console/name", name=" Anna Meyer "), "/console")
    assert (await api.me(anna)).json()["name"] == "Anna Meyer"
    for current, status in (("wrong", 403), (PASSWORD, 303)):
        answer = await browser.send(
            "/console/address", email="new@example.com", current_password=current
        )
        assert answer.status_code == status, answer.text
    assert (await api.me(anna)).json()["pending_email"] == "new@example.com"
    for current, new, status in (
        ("wrong", NEW_PASSWORD, 403),
        (PASSWORD, "short", 422),
        (PASSWORD, NEW_PASSWORD, 303),
    ):
        answer = await browser.send("/console/password", current_password=current, new_password=new)
        assert answer.status_code == status, answer.text
    assert (await browser.see("/console/security")).status_code == 200
    assert (await api.me(anna)).status_code == 401
    assert (await api.log_in(anna.email, NEW_PASSWORD)).status_code == 200


async def test_one_session_or_all_are_ended(api: ApiClient, browser: Browser) -> None:
    anna, bert = await api.person(), await api.person()
    await browser.log_in(anna.email)
    ids = [s["id"] for s in (await api.client.get("/sessions", headers=anna.headers)).json()]
    (theirs,) = (await api.client.get("/sessions", headers=bert.headers)).json()

    assert (await browser.send(f"/console/sessions/{theirs['id']}/end")).status_code == 404
    page = await browser.see("/console/security")
    assert "Firefox on Linux" in page.text
    leads_to(await browser.send(f"/console/sessions/{ids[1]}/end"), "/console/security")
    assert (await api.me(anna)).status_code == 401

    answer = await browser.send("/console/sessions/end")
    leads_to(answer, "/console/login")
    leads_to(await browser.see("/console"), "/console/login")
    assert (await api.me(bert)).status_code == 200


async def test_an_account_is_deleted_with_its_password(api: ApiClient, browser: Browser) -> None:
    anna = await api.person()
    await browser.log_in(anna.email)

    answer = await browser.send("/console/deletion", current_password="wrong")
    assert answer.status_code == 403
    leads_to(await browser.send("/console/deletion", current_password=PASSWORD), "/console/login")

    assert (await api.log_in(anna.email)).status_code == 401


async def test_logging_out_ends_the_session(api: ApiClient, browser: Browser) -> None:
    anna = await api.person()
    answer = await browser.log_in(anna.email)
    cookie = answer.headers["Set-Cookie"].partition(";")[0]

    leads_to(await browser.send("/console/logout"), "/console/login")

    browser.client.cookies.clear()
    browser.client.headers["Cookie"] = cookie
    leads_to(await browser.see("/console"), "/console/login")


async def test_a_mailed_link_acts_on_a_click_and_not_when_it_is_fetched(
    api: ApiClient, browser: Browser
) -> None:
    anna = await api.person()
    token = await ask_for_verification(api, anna)

    for _ in range(2):
        page = await browser.see(f"/console/verify?token={token}")
        assert page.status_code == 200
        assert page.headers["Referrer-Policy"] == "no-referrer"
        assert page.headers["Cache-Control"] == "no-store"
        assert not (await api.me(anna)).json()["is_verified"]
    leads_to(await browser.send("/console/verify", token=token), "/console/login")
    assert (await api.me(anna)).json()["is_verified"]

    again = await browser.send("/console/verify", token=token)
    assert again.status_code == 400
    assert "A link works once" in again.text


async def test_a_forgotten_password_is_replaced_by_a_mailed_link(
    api: ApiClient, browser: Browser
) -> None:
    anna = await api.person()
    texts = []
    for email in ("nobody@example.com", anna.email):
        answer = await browser.send("/console/forgot", email=email)
        assert answer.status_code == 200
        texts.append(answer.text.replace(email, ""))
    assert texts[0] == texts[1]
    (token,) = await delivered(api)

    assert (await browser.see(f"/console/reset?token={token}")).status_code == 200
    refused = await browser.send("/console/reset", token=token, password="short")
    assert refused.status_code == 422
    assert token in refused.text
    leads_to(
        await browser.send("/console/reset", token=token, password=NEW_PASSWORD), "/console/login"
    )
    again = await browser.send("/console/reset", token=token, password=NEW_PASSWORD)
    assert again.status_code == 400
    assert "works once" in again.text
    assert (await api.log_in(anna.email, NEW_PASSWORD)).status_code == 200


async def test_an_undone_change_of_address_brings_it_back(api: ApiClient, browser: Browser) -> None:
    anna = await api.person()
    token, _ = await ask_to_move(api, anna, "thief@example.com")

    assert (await browser.see(f"/console/undo?token={token}")).status_code == 200
    leads_to(await browser.send("/console/undo", token=token), "/console/login")

    assert (await browser.send("/console/undo", token=token)).status_code == 400
    assert (await api.me(anna)).status_code == 401


ADMIN_PAGES = (
    "/console/users",
    "/console/users/1",
    "/console/users/find?q=1",
    "/console/audit",
    "/console/webhooks",
    "/console/webhooks/1",
    "/console/jobs",
)


async def test_a_page_for_admins_does_not_exist_for_members(
    api: ApiClient, browser: Browser
) -> None:
    anna = await api.person(role=Role.MODERATOR)
    for path in ADMIN_PAGES:
        leads_to(await browser.see(path), "/console/login")
    await browser.log_in(anna.email)

    for path in ADMIN_PAGES:
        answer = await browser.see(path)
        assert answer.status_code == 404
        assert "There is no such page" in answer.text
    unsafe = (
        f"/console/users/{anna.id}/role",
        f"/console/users/{anna.id}/state",
        "/console/webhooks",
        "/console/webhooks/1/secret",
        "/console/jobs/1/again",
    )
    for path in unsafe:
        assert (await browser.send(path, role="admin", is_active="true")).status_code == 404
    assert "/console/users" not in (await browser.see("/console")).text


async def test_an_admin_finds_a_user_and_changes_role_and_state(
    api: ApiClient, browser: Browser
) -> None:
    anna, admin = await api.person(), await api.person(role=Role.ADMIN)
    await browser.log_in(admin.email)
    page = f"/console/users/{anna.id}"

    for wanted in (anna.email.upper(), str(anna.id), f" {anna.email} "):
        leads_to(await browser.client.get("/console/users/find", params={"q": wanted}), page)
    for wanted in ("nobody@example.com", "9" * 30, "²", HOSTILE):
        answer = await browser.client.get("/console/users/find", params={"q": wanted})
        assert answer.status_code == 200
        assert "Nobody has" in answer.text
    leads_to(await browser.send(f"{page}/role", role="moderator"), page)
    assert (await api.me(anna)).json()["role"] == "moderator"
    assert (await browser.send(f"{page}/role", role="king")).status_code == 422
    leads_to(await browser.send(f"{page}/state", is_active="false"), page)
    assert (await api.me(anna)).status_code == 401
    leads_to(await browser.send(f"{page}/state", is_active="true"), page)
    last = await browser.send(f"/console/users/{admin.id}/role", role="member")
    assert last.status_code == 409
    assert "last admin" in last.text
    assert (await browser.see("/console/users/4711")).status_code == 404


async def test_lists_go_on_by_cursor_and_the_audit_is_narrowed(
    api: ApiClient, browser: Browser
) -> None:
    admin = await api.person(role=Role.ADMIN)
    people = [await api.person() for _ in range(21)]
    await browser.log_in(admin.email)

    for path, shown in (("/console/users", people[0].email), ("/console/audit?name=logged_in", "")):
        first = await browser.see(path)
        (link,) = re.findall(r'rel="next" href="([^"]+)"', first.text)
        second = await browser.see(unescape(link))
        assert second.status_code == 200
        assert shown in second.text
        assert 'rel="next"' not in second.text
        assert "First page" in second.text
    query = {"subject": f"user:{admin.id}", "name": "", "actor_id": ""}
    page = await browser.client.get("/console/audit", params=query)
    assert "User registered" in page.text
    assert "Logged in" not in page.text
    assert (await browser.see("/console/audit?actor_id=x")).status_code == 422
    assert (await browser.see("/console/audit?after=x")).status_code == 400


async def test_a_personal_token_is_made_shown_once_and_deleted(
    api: ApiClient, browser: Browser
) -> None:
    anna = await api.person()
    await browser.log_in(anna.email)
    form = {"name": "<b>backup</b>", "days": "30"}
    for wrong in ({}, {"scopes": "admin"}, {"scopes": "session"}, {"scopes": "x"}):
        answer = await browser.send("/console/tokens", **form, **wrong)
        assert answer.status_code in (403, 422), wrong
    page = await browser.send("/console/tokens", **form, scopes="account:read")
    assert page.status_code == 200, page.text
    (token,) = re.findall(r'<code class="secret">(gp_\w+)</code>', page.text)
    headers = {"Authorization": f"Bearer {token}"}
    assert (await api.client.get("/users/me", headers=headers)).status_code == 200
    page = await browser.see("/console/tokens")
    assert token not in page.text
    (token_id,) = re.findall(r"/console/tokens/(\d+)/delete", page.text)

    leads_to(await browser.send(f"/console/tokens/{token_id}/delete"), "/console/tokens")
    assert (await api.client.get("/users/me", headers=headers)).status_code == 401
    api.clock.ahead += timedelta(minutes=11)
    stale = await browser.send("/console/tokens", **form, scopes="account:read")
    leads_to(stale, "/console/proof")
    assert stale.headers["Location"].endswith("return=%2Fconsole%2Ftokens")


PAGES = (
    "",
    "/security",
    "/passkeys",
    "/tokens",
    "/data",
    "/users",
    "/users/{id}",
    "/audit",
    "/webhooks",
    "/webhooks/1",
    "/jobs",
)


async def see_all(api: ApiClient, browser: Browser, admin: Person) -> list[httpx.Response]:
    """Every page for an admin who has logged in, with a webhook and a delivery to show."""
    await browser.send("/console/webhooks", url=f"https://example.com/{HOSTILE}", events="*")
    await browser.send("/console/webhooks/1/test")
    return [await browser.see(f"/console{path}".format(id=admin.id)) for path in PAGES]


async def test_no_text_of_a_user_is_markup_on_any_page(api: ApiClient, browser: Browser) -> None:
    admin = await api.person(name=HOSTILE, role=Role.ADMIN)
    browser.client.headers["User-Agent"] = HOSTILE
    await browser.log_in(admin.email)
    await browser.log_in(HOSTILE)
    await api.client.patch(f"/users/{admin.id}", json={}, headers=admin.headers)

    shown = 0
    for page in [answer.text for answer in await see_all(api, browser, admin)]:
        assert HOSTILE not in page
        assert "<script>" not in page
        assert "<img" not in page
        shown += escape(HOSTILE).replace("&#x27;", "&#39;") in page.replace("&#34;", "&quot;")
    assert shown >= 6
    for path in ("login", "verify", "reset", "undo"):
        answer = await browser.client.get(
            f"/console/{path}", params={"token": HOSTILE, "return": HOSTILE, "done": HOSTILE}
        )
        assert "<script>" not in answer.text
        assert "<img" not in answer.text
    refused = await browser.send("/console/login", username=HOSTILE, password="x")
    assert "<script>" not in refused.text


async def test_every_page_has_a_strict_policy_and_is_kept_nowhere(
    api: ApiClient, browser: Browser
) -> None:
    admin = await api.person(role=Role.ADMIN)
    outside = ("/login", "/register", "/forgot", "/reset", "/verify", "/undo")
    answers = [await browser.see(f"/console{path}") for path in outside]
    await browser.log_in(admin.email)
    answers += await see_all(api, browser, admin)

    for answer in answers:
        assert answer.status_code == 200, answer.url
        policy = dict(
            part.strip().split(" ", 1)
            for part in answer.headers["Content-Security-Policy"].split(";")
        )
        scripts = re.findall(r'<script src="([^"]+)" defer></script>', answer.text)
        assert [urlsplit(script).path for script in scripts] == ["/console/static/passkeys.js"] * (
            answer.url.path in ("/console/login", "/console/passkeys")
        )
        assert answer.text.count("<script") == len(scripts)
        of_script = {"script-src": "'self'", "connect-src": "'self'"} if scripts else {}
        assert policy == of_script | {
            "default-src": "'none'",
            "style-src": "'self'",
            "img-src": "'self'",
            "form-action": "'self'",
            "base-uri": "'none'",
            "frame-ancestors": "'none'",
        }
        assert answer.headers.get_list("Cache-Control") == ["no-store"]
        assert "style=" not in answer.text
        for reference in re.findall(r'(?:href|src|action)="([^"]+)"', answer.text):
            parts = urlsplit(unescape(reference))
            assert parts.netloc == ""
            if parts.path.startswith("/console/static/"):
                static = await browser.see(reference)
                assert static.status_code == 200
                assert "immutable" in static.headers["Cache-Control"]
                assert parse_qs(parts.query) or parts.path.endswith(".svg")


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_costs_at_most_two_queries_beyond_authentication(
    api: ApiClient, path: str
) -> None:
    admin = await api.person(role=Role.ADMIN)
    asked: list[str] = []
    database = Counted(api.database, asked)
    ports = {"queries": SqlQueries(database), "storage": SqlStorage(database)}
    app = application(type(api.ports)(**{**vars(api.ports), **ports}), plain_cookies=True)
    async with browser_of(app) as browser:
        await browser.log_in(admin.email)
        await browser.send("/console/webhooks", url="https://example.com/", events="*")
        asked.clear()

        answer = await browser.see(f"/console{path}".format(id=admin.id))

    assert answer.status_code == 200
    assert asked[0] == "read"
    assert len(asked) <= 3, asked


async def test_pages_lead_on_below_the_root_path(api: ApiClient) -> None:
    anna = await api.person()
    app = application(api.ports, plain_cookies=True, root_path="/gate")
    async with browser_of(app) as browser:
        answer = await browser.see("/console/security")
        assert answer.headers["Location"] == "/gate/console/login?return=%2Fconsole%2Fsecurity"
        answer = await browser.send(
            "/console/login",
            username=anna.email,
            password=PASSWORD,
            **{"return": "/console/security"},
        )
        assert answer.headers["Location"] == "/gate/console/security"
        page = (await browser.see("/console/security")).text
        assert 'href="/console' not in page
        assert 'aria-current="page">Security' in page


@pytest.mark.parametrize("root_path", ["", "/gate"])
async def test_errors_under_the_console_are_pages(api: ApiClient, root_path: str) -> None:
    app = application(api.ports, plain_cookies=True, root_path=root_path)

    @app.get("/console/broken")
    async def fail() -> None:
        raise ZeroDivisionError

    async with browser_of(app) as browser:
        answers = {
            (await browser.see("/console/nowhere")): (404, "There is no such page."),
            (await browser.see("/console/static/x.js")): (404, "There is no such page."),
            (await browser.see("/console/totp")): (405, "nothing to see"),
            (await browser.see("/console/broken")): (500, "number of the request: "),
            (await browser.send("/console/login", username="x" * 20_000)): (413, "too long"),
        }
        for answer, (status, text) in answers.items():
            assert answer.status_code == status, answer.text
            assert answer.headers["Content-Type"].startswith("text/html")
            assert text in answer.text
            assert f'href="{root_path}/console"' in answer.text
            assert (answer.headers.get("Allow") == "POST") is (status == 405)
        for path in ("/nowhere", "/consoles"):
            answer = await browser.see(path)
            assert answer.headers["Content-Type"] == "application/problem+json"


async def test_a_page_that_another_site_sends_is_refused_as_a_page(
    browser: Browser,
) -> None:
    answer = await browser.client.post(
        "/console/login",
        data={"username": "a@example.com", "password": "x"},
        headers={"Sec-Fetch-Site": "cross-site"},
    )

    assert answer.status_code == 403
    assert answer.headers["Content-Type"].startswith("text/html")
