"""The console in a real browser: without scripts, and against pages of other sites."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pyotp
import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.journeys.processes import Place, Service
from tests.journeys.test_docs_page import FLAGS, TIME_BUDGET, note_troubles
from tests.journeys.test_webhooks import Receiver, receiving
from tests.programs import program
from tests.smtp import Inbox, part_of, running_smtp

PASSWORD = "golden modest winter lonely"
NEW_PASSWORD = "staple battery horse"
ANNA, ADMIN = "anna@example.com", "admin@example.com"
SITE = "https://example.org"


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    rules = "MAP *.localhost 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"
    flags = [flag for flag in FLAGS if not flag.startswith("--host-resolver-rules")]
    expect.set_options(timeout=TIME_BUDGET)
    async with (
        async_playwright() as playwright,
        await playwright.chromium.launch(
            executable_path=program("chromium"), args=[*flags, f"--host-resolver-rules={rules}"]
        ) as browser,
    ):
        yield browser


async def open_page(browser: Browser, *, scripts: bool = False) -> Page:
    context = await browser.new_context(java_script_enabled=scripts)
    context.set_default_timeout(TIME_BUDGET)
    return await context.new_page()


async def fill(page: Page, **fields: str) -> None:
    for name, value in fields.items():
        await page.locator(f"input[name={name}]:visible").last.fill(value)


async def press(page: Page, name: str) -> None:
    await page.get_by_role("button", name=name, exact=True).click()


async def log_in(page: Page, url: str, email: str, password: str = PASSWORD) -> None:
    await page.goto(f"{url}/console/login")
    await fill(page, username=email, password=password)
    await press(page, "Log in")
    await expect(page).to_have_url(f"{url}/console")


async def says(page: Page, text: str) -> None:
    await expect(page.locator(".message")).to_contain_text(text)


async def test_people_use_every_page_without_scripts(place: Place) -> None:
    inbox, troubles = Inbox(), list[str]()
    async with running_smtp(inbox) as address, receiving() as receiver, chromium() as browser:
        place.settings |= {"SMTP_URL": f"smtp://{address}", "PUBLIC_URL": SITE, "NOTICES": "off"}
        place.settings |= {"WEBHOOKS_PRIVATE": "on"}
        place.run("migrate")
        place.run("create-admin", ADMIN, "--password-stdin", given=f"{PASSWORD}\n")
        with place.serving() as service:
            page, of_admin = await open_page(browser), await open_page(browser)
            for each in (page, of_admin):
                note_troubles(each, service.url, troubles)
            await somebody_registers(page, service.url, inbox)
            secret = await they_add_an_app(page)
            await they_log_in_with_a_code(page, secret)
            await they_make_a_token(page, service)
            await an_admin_looks_after_them(of_admin, service.url)
            await an_admin_adds_a_webhook(of_admin, receiver)
            await log_in(page, service.url, ANNA, NEW_PASSWORD)
            await they_export_and_delete(page, service.url)

    # A code is refused if its step has just ended.
    assert [it for it in troubles if "422" not in it] == []


async def somebody_registers(page: Page, url: str, inbox: Inbox) -> None:
    await page.goto(url)
    await expect(page).to_have_url(f"{url}/console/login")
    await page.get_by_role("link", name="Make an account").click()
    await fill(page, name="Anna <b>Meyer</b>", email=ANNA, password=PASSWORD)
    await press(page, "Make an account")
    await says(page, "Welcome")

    await press(page, f"Send the link to {ANNA}")
    mail = part_of(await inbox.mail(), "plain")
    (link,) = re.findall(rf"{SITE}(/console/verify\?token=\S+)", mail)
    await page.goto(url + link)
    await expect(page.get_by_role("heading", name="Confirm your address")).to_be_visible()
    await press(page, "Confirm")
    await says(page, "Your address is confirmed")

    await fill(page, name="Anna")
    await press(page, "Save the name")
    await says(page, "Your name is saved")
    await page.get_by_role("link", name="Security").click()
    await fill(page, current_password=PASSWORD, new_password=NEW_PASSWORD)
    await press(page, "Change the password")
    await says(page, "Your password is changed")


async def they_add_an_app(page: Page) -> str:
    """Confirms it by a code of the step before, so that the present one can log in."""
    await press(page, "Add an authenticator app")
    await expect(page.get_by_role("img", name="QR code")).to_be_visible()
    secret = await page.locator("code.secret").inner_text()
    for _ in range(2):
        await fill(page, code=pyotp.TOTP(secret).at(int(time.time()) - 30))
        async with page.expect_navigation():
            await press(page, "Confirm the app")
        if await page.get_by_role("heading", level=1).inner_text() == "Your recovery codes":
            break  # and else a step has ended meanwhile
    await expect(page.locator(".codes code")).to_have_count(10)
    await page.get_by_role("link", name="I have kept them").click()
    await expect(page.get_by_text("10 recovery codes are left")).to_be_visible()
    return secret


async def they_log_in_with_a_code(page: Page, secret: str) -> None:
    await press(page, "Log out")
    await fill(page, username=ANNA, password=NEW_PASSWORD)
    await press(page, "Log in")
    await expect(page.get_by_role("heading", name="Second step")).to_be_visible()
    await fill(page, code=pyotp.TOTP(secret).now())
    await press(page, "Log in")
    await expect(page.get_by_role("heading", name="Account")).to_be_visible()


async def they_make_a_token(page: Page, service: Service) -> None:
    await page.get_by_role("link", name="Tokens").click()
    await fill(page, name="Backup")
    await page.locator("input[name=scopes]").first.check()
    await press(page, "Make the token")
    token = await page.locator("code.secret").inner_text()
    statuses = []
    async with service.async_client() as client:
        headers = {"Authorization": f"Bearer {token}"}
        statuses.append((await client.get("/users/me", headers=headers)).status_code)
        await page.get_by_role("link", name="Tokens").click()
        await expect(page.locator("code.secret")).to_have_count(0)
        await press(page, "Delete the token Backup")
        await says(page, "The token is deleted")
        statuses.append((await client.get("/users/me", headers=headers)).status_code)
    assert statuses == [200, 401]


async def an_admin_looks_after_them(page: Page, url: str) -> None:
    await log_in(page, url, ADMIN)
    await page.get_by_role("link", name="Users").click()
    await fill(page, q=ANNA)
    await press(page, "Find")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Anna")
    await page.locator("#role").select_option("moderator")
    await press(page, "Change the role")
    await says(page, "The role is changed")
    await page.get_by_text("End all sessions…").click()
    await press(page, "End all sessions")
    await says(page, "All sessions of the user are ended")
    await page.get_by_text("Remove them…").click()
    await press(page, "Remove all second factors")
    await says(page, "The second factors are removed")
    await page.get_by_role("link", name="What happened to this account").click()
    for event in ("Role changed", "Factors removed"):
        await expect(page.get_by_role("row").filter(has_text=event)).to_have_count(1)
    await page.go_back()
    await page.get_by_text("Deactivate…").click()
    await press(page, "Deactivate the account")
    await says(page, "its sessions are ended")
    await press(page, "Activate it again")
    await says(page, "active again")


async def an_admin_adds_a_webhook(page: Page, receiver: Receiver) -> None:
    receiver.status = 410
    await page.get_by_role("link", name="Webhooks").click()
    await fill(page, url=receiver.url)
    await page.get_by_text("Only some…").click()
    await page.get_by_label("Post written").check()
    await press(page, "Add the webhook")
    await expect(page.locator("code.secret")).to_contain_text("whsec_")
    await press(page, "Send a test")
    await says(page, "A test is on its way")
    await looks_until(page, "failed")

    receiver.status = 204
    await press(page, "Switch it on")  # the receiver's answer switched it off
    await page.get_by_role("button", name="Send again: Webhook test").click()
    await says(page, "on its way again")
    await looks_until(page, "delivered")
    assert [len(ids) for ids in (receiver.received, receiver.ids())] == [2, 1]
    await page.get_by_role("link", name="Jobs").click()
    await expect(page.get_by_role("row").filter(has_text="Purge")).to_have_count(1)
    await press(page, "Log out")
    await says(page, "You are logged out")


async def looks_until(page: Page, state: str) -> None:
    """Look at the deliveries again and again, until the newest one is in this state."""
    tag = page.locator("tbody tr .tag").first
    async with asyncio.timeout(20):
        while await tag.inner_text() != state:
            await page.get_by_role("link", name="Look again").click()


async def they_export_and_delete(page: Page, url: str) -> None:
    other = await page.context.browser.new_context() if page.context.browser else None
    assert other
    await log_in(await other.new_page(), url, ANNA, NEW_PASSWORD)
    await page.get_by_role("link", name="Security").click()
    await page.get_by_role("button", name="End the session").first.click()
    await says(page, "The session is ended")

    await page.get_by_role("link", name="Your data").click()
    async with page.expect_download() as download:
        await page.get_by_role("link", name="Download the file").click()
    file = Path(await (await download.value).path())
    exported = json.loads(await asyncio.to_thread(file.read_text))
    assert exported["user"]["email"] == ANNA

    await page.get_by_text("Delete it…").click()
    await fill(page, current_password=NEW_PASSWORD)
    await press(page, "Delete my account for good")
    await says(page, "Your account is deleted")


ATTACK = """<!doctype html><title>Win a prize</title>
<form method="post" action="{gate}/console/name"><input name="name" value="Eve"><button>Win</button>
</form>
<img src="{gate}/console/logout"><iframe src="{gate}/console"></iframe>
<script>
const send = (path, options) => fetch("{gate}" + path, {{credentials: "include", ...options}});
const form = new URLSearchParams({{name: "Eve"}});
Promise.allSettled([
  send("/console/name", {{method: "POST", mode: "no-cors", body: form}}),
  send("/console/sessions/end", {{method: "POST", mode: "no-cors"}}),
  send("/browser/login", {{method: "DELETE"}}),
  send("/users/me", {{method: "PATCH", body: "{{}}"}}),
  send("/users/me").then(answer => answer.text()).then(text => document.title = text),
]).then(() => document.body.append("attacked"));
</script>"""


@asynccontextmanager
async def attacker(gate: str) -> AsyncIterator[int]:
    """The port of a site whose every page attacks the service at `gate`."""
    page = ATTACK.format(gate=gate).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(page)}\r\n"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head.encode() + b"Connection: close\r\n\r\n" + page)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


# The first is of the same site, to which browsers send cookies that are SameSite=Lax.
@pytest.mark.parametrize("host", ["evil.gate.localhost", "other.localhost"])
async def test_a_page_of_another_site_changes_nothing(service: Service, host: str) -> None:
    port = service.url.rpartition(":")[2]
    gate = f"http://gate.localhost:{port}"
    email = f"{host}@example.com"
    async with service.async_client() as client, chromium() as browser, attacker(gate) as evil:
        await client.post("/users", json={"email": email, "password": PASSWORD, "name": "Anna"})
        page = await open_page(browser, scripts=True)
        await log_in(page, gate, email)

        await page.goto(f"http://{host}:{evil}/")
        await expect(page.get_by_text("attacked")).to_be_visible()
        assert await page.title() == "Win a prize"
        framed = page.frames[1]
        assert "Anna" not in await framed.content()
        await press(page, "Win")

        await page.goto(f"{gate}/console")
        await expect(page).to_have_url(f"{gate}/console")
        await expect(page.locator("#name")).to_have_value("Anna")
