"""The console's pages of users and the audit, for admins."""

import re
from html import unescape

from domain.users import Role
from tests.api.browser import HOSTILE, Browser, leads_to
from tests.api.client import (
    ApiClient,
    on_one_database,
)

pytestmark = on_one_database

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
