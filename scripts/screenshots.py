"""Takes pictures of the console's pages: `make screenshots` for the ones in docs/screenshots, and
with `--every` each page, light and dark, wide and narrow, into build/screenshots.

Serves from a database that is thrown away, and needs the program chromium.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

from playwright.sync_api import BrowserContext, Page, sync_playwright

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "screenshots"
EVERY = ROOT / "build" / "screenshots"
COMMAND = [sys.executable, "-c", "import cli; cli.main()"]
EMAIL = "anna.meyer@example.com"
PASSWORD = "golden-modest-winter-lonely"  # noqa: S105 # of a database that is thrown away

OUTSIDE = (
    "login",
    "register",
    "forgot",
    "reset?token=x",
    "verify?token=x",
    "undo?token=x",
    "nowhere",
)
INSIDE = (
    "",
    "security",
    "passkeys",
    "tokens",
    "data",
    "users",
    "users/3",  # posts only
    "users/find?q=nobody@example.com",
    "audit",
    "webhooks",
    "webhooks/1",
    "webhooks/2",
    "jobs",
    "proof",
)
SIZES = {"wide": (1200, 780), "narrow": (375, 780)}
SCHEMES = ("light", "dark")
SHOWN = {
    ("login", "narrow", "light"),
    ("security", "wide", "light"),
    ("users", "wide", "dark"),
    ("audit", "wide", "light"),
    ("passkeys", "narrow", "dark"),
    ("webhooks-1", "wide", "light"),
}
"""The pictures in the documentation."""


def gatepost(directory: Path, *arguments: str, given: str = "") -> None:
    subprocess.run(  # noqa: S603 # our own command
        [*COMMAND, *arguments],
        cwd=directory,
        env=environment(directory),
        input=given,
        text=True,
        check=True,
        stdout=subprocess.DEVNULL,
    )


def environment(directory: Path) -> dict[str, str]:
    return {
        "PYTHONPATH": str(ROOT),
        "GATEPOST_DATABASE_URL": f"sqlite:///{directory / 'gatepost.db'}",
        "GATEPOST_BCRYPT_COST": "4",
        "GATEPOST_RATE_LIMITS": "off",
        "GATEPOST_WEBHOOKS_PRIVATE": "on",
    }


@contextmanager
def serving(directory: Path) -> Iterator[str]:
    with subprocess.Popen(  # noqa: S603 # our own command
        [*COMMAND, "serve", "--port", "0"],
        cwd=directory,
        env=environment(directory),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout  # noqa: S101 # it is a pipe
        try:
            # Where passkeys of a service in development belong.
            yield process.stdout.readline().split()[-1].replace("127.0.0.1", "localhost")
        finally:
            process.terminate()


class Receiver(BaseHTTPRequestHandler):
    """Of webhooks: takes what is sent to `/hook`, and fails with the rest."""

    def do_POST(self) -> None:  # the name of the method
        self.send_response(204 if self.path == "/hook" else 500)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@contextmanager
def receiving() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


AUTHENTICATOR = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


def make_something_to_show(page: Page, url: str, receiver: str) -> None:
    """A personal token, webhooks with deliveries, and a passkey."""
    page.goto(f"{url}/console/tokens")
    page.get_by_label("What it is for").fill("Nightly backup")
    page.get_by_role("checkbox").first.check()
    page.get_by_role("button", name="Make the token").click()
    for path, event in (("hook", "Every event"), ("broken", "Post written")):
        page.goto(f"{url}/console/webhooks")
        page.get_by_role("textbox", name="Address").fill(f"{receiver}/{path}")
        page.get_by_text("Only some…").click()
        page.get_by_label(event).check()
        page.get_by_role("button", name="Add the webhook").click()
        page.get_by_role("button", name="Send a test").click()
    devtools = page.context.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    devtools.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})
    page.goto(f"{url}/console/passkeys")
    page.get_by_role("textbox", name="Name").fill("My phone")
    page.get_by_role("button", name="Add a passkey").click()
    page.get_by_role("status").wait_for()


def log_in(page: Page, url: str) -> None:
    page.goto(f"{url}/console/login")
    page.get_by_label("E-mail address").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in", exact=True).click()
    page.wait_for_url(f"{url}/console")


def take(context: BrowserContext, url: str, pages: tuple[str, ...], every: bool) -> None:
    page = context.new_page()
    for path in pages:
        for size, (width, height) in SIZES.items():
            for scheme in SCHEMES:
                name = path.partition("?")[0].replace("/", "-") or "account"
                if not every and (name, size, scheme) not in SHOWN:
                    continue
                page.set_viewport_size({"width": width, "height": height})
                page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
                page.goto(f"{url}/console/{path}".rstrip("/"))
                folder = EVERY if every else PICTURES
                file = folder / f"{name}-{size}-{scheme}.png"
                page.screenshot(path=file, full_page=every)
                print(file.relative_to(ROOT))


def main() -> None:
    every = "--every" in sys.argv[1:]
    (EVERY if every else PICTURES).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        directory = Path(name)
        gatepost(directory, "migrate")
        gatepost(directory, "create-admin", EMAIL, "--password-stdin", given=f"{PASSWORD}\n")
        gatepost(directory, "seed", "--users", "30", "--posts", "40")  # posts only
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        with serving(directory) as url, receiving() as receiver:
            context = browser.new_context()
            take(context, url, OUTSIDE, every)
            page = context.new_page()
            log_in(page, url)
            make_something_to_show(page, url, receiver)
            take(context, url, INSIDE, every)
        browser.close()


if __name__ == "__main__":
    main()
