"""What axe-core finds on the console's pages."""

import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from playwright.async_api import Page

from tests.journeys.processes import Place
from tests.journeys.test_console import (
    ADMIN,
    PASSWORD,
    chromium,
    fill,
    log_in,
    open_page,
    press,
    says,
)
from tests.journeys.test_docs_page import note_troubles
from tests.journeys.test_passkeys import AUTHENTICATOR
from tests.programs import missing, program

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
    "webhooks",
    "webhooks/1",
    "jobs",
    "nowhere",
    "proof",
)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_on_any_page(place: Place, scheme: str) -> None:
    source, found, troubles = axe(), dict[str, list[str]](), list[str]()
    place.settings |= {"WEBHOOKS_PRIVATE": "on"}
    place.run("migrate")
    place.run("create-admin", ADMIN, "--password-stdin", given=f"{PASSWORD}\n")
    with place.serving() as service:
        async with chromium() as browser:
            page = await open_page(browser, scripts=True)
            url = service.url.replace("127.0.0.1", "localhost")
            note_troubles(page, url, troubles)
            width = 375 if scheme == "dark" else 1200  # as a phone, and as a window
            await page.set_viewport_size({"width": width, "height": 800})
            await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")

            async def look(path: str) -> None:
                await page.goto(f"{url}/console/{path}".rstrip("/"))
                await page.evaluate(
                    "document.querySelectorAll('details').forEach(it => it.open = 1)"
                )
                await page.evaluate(source)
                report = await page.evaluate("axe.run()")
                if violations := [f"{v['id']}: {v['help']}" for v in report["violations"]]:
                    found[path] = violations
                if await page.evaluate("document.documentElement.scrollWidth") > width:
                    found[path] = ["wider than the window"]

            for path in OUTSIDE:
                await look(path)
            await log_in(page, url, ADMIN)
            await there_is_something_to_show(page, url)
            for path in INSIDE:
                await look(path)

    assert found == {}
    assert [it for it in troubles if "404" not in it] == []  # of the page that is nowhere


async def there_is_something_to_show(page: Page, url: str) -> None:
    """A webhook with a delivery, and a passkey."""
    await page.goto(f"{url}/console/webhooks")
    await fill(page, url=f"{url}/")
    await page.get_by_label("Every event").check()
    await press(page, "Add the webhook")
    await press(page, "Send a test")
    devtools = await page.context.new_cdp_session(page)
    await devtools.send("WebAuthn.enable")
    await devtools.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})
    await page.goto(f"{url}/console/passkeys")
    await fill(page, name="Phone")
    await press(page, "Add a passkey")
    await says(page, "The passkey is added")
