"""The console in a real browser: without scripts, and against pages of other sites."""

import asyncio
import json
import os
import re
import subprocess
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.journeys.processes import Place, Service
from tests.journeys.test_docs_page import FLAGS, TIME_BUDGET, note_troubles
from tests.programs import missing, program
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
    async with running_smtp(inbox) as address, chromium() as browser:
        place.settings |= {"SMTP_URL": f"smtp://{address}", "PUBLIC_URL": SITE, "NOTICES": "off"}
        place.run("migrate")
        place.run("create-admin", ADMIN, "--password-stdin", given=f"{PASSWORD}\n")
        with place.serving() as service:
            page = await open_page(browser)
            note_troubles(page, service.url, troubles)
            await somebody_registers(page, service.url, inbox)
            await an_admin_looks_after_them(await open_page(browser), service.url)
            await log_in(page, service.url, ANNA, NEW_PASSWORD)
            await they_export_and_delete(page, service.url)

    assert troubles == []


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


async def an_admin_looks_after_them(page: Page, url: str) -> None:
    await log_in(page, url, ADMIN)
    await page.get_by_role("link", name="Users").click()
    await fill(page, q=ANNA)
    await press(page, "Find")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Anna")
    await page.locator("#role").select_option("moderator")
    await press(page, "Change the role")
    await says(page, "The role is changed")
    await page.get_by_role("link", name="What happened to this account").click()
    await expect(page.get_by_role("row").filter(has_text="Role changed")).to_have_count(1)
    await page.go_back()
    await page.get_by_text("Deactivate…").click()
    await press(page, "Deactivate the account")
    await says(page, "its sessions are ended")
    await press(page, "Activate it again")
    await says(page, "active again")
    await press(page, "Log out")
    await says(page, "You are logged out")


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


AXE = "axe-core@4.14.1"


def axe() -> str:
    """The source of axe-core, from npm's cache in .venv or fetched into it."""
    folder = Path(__file__).parents[2] / ".venv" / "npm"
    folder.mkdir(exist_ok=True)
    archive = folder / f"{AXE.replace('@', '-')}.tgz"
    if not archive.exists():
        fetched = subprocess.run(
            [program("npm"), "pack", AXE, "--silent"],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "HOME": str(folder)},
            capture_output=True,
            check=False,
            timeout=120,
        )
        if fetched.returncode:
            pytest.skip(f"npm cannot fetch it: npm pack {AXE}")
    with tarfile.open(archive) as package:
        source = package.extractfile("package/axe.min.js")
        return source.read().decode() if source else missing(f"{AXE} has no axe.min.js")


OUTSIDE = ("login", "register", "forgot", "reset?token=x", "verify?token=x", "undo?token=x")
INSIDE = (
    "",
    "security",
    "passkeys",
    "tokens",
    "data",
    "users",
    "users/1",
    "users/find?q=x",
    "audit",
)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_on_any_page(place: Place, scheme: str) -> None:
    source, found = axe(), dict[str, list[str]]()
    place.run("migrate")
    place.run("create-admin", ADMIN, "--password-stdin", given=f"{PASSWORD}\n")
    with place.serving() as service:
        async with chromium() as browser:
            page = await open_page(browser, scripts=True)
            await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")

            async def look(path: str) -> None:
                await page.goto(f"{service.url}/console/{path}".rstrip("/"))
                await page.evaluate(source)
                report = await page.evaluate("axe.run()")
                if violations := [f"{v['id']}: {v['help']}" for v in report["violations"]]:
                    found[path] = violations

            for path in OUTSIDE:
                await look(path)
            await log_in(page, service.url, ADMIN)
            for path in INSIDE:
                await look(path)

    assert found == {}
