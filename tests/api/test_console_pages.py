"""What every page of the console keeps: escaping, policy, queries, and pages of errors."""

import re
from html import escape, unescape
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from domain.users import Role
from infrastructure.database.queries import SqlQueries
from infrastructure.database.unit_of_work import SqlStorage
from tests.api.browser import HOSTILE, Browser, browser_of
from tests.api.client import (
    ApiClient,
    Person,
    application,
    on_one_database,
)
from tests.api.test_query_counts import Counted

pytestmark = on_one_database

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
