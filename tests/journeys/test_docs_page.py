"""The page at `/docs`, in a real browser that has no internet."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol
from uuid import uuid4

import pytest
from playwright.async_api import (
    ConsoleMessage,
    Locator,
    Page,
    Request,
    Response,
    async_playwright,
    expect,
)

from tests.programs import program

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]
TIME_BUDGET = 10_000  # milliseconds for any one step, on a busy machine


class Service(Protocol):
    @property
    def url(self) -> str: ...


@pytest.mark.slow
async def test_a_newcomer_registers_authorizes_and_calls_from_the_docs_page(
    service: Service,
) -> None:
    email = f"newcomer-{uuid4().hex[:12]}@example.org"
    password = f"api {uuid4()}"
    troubles: list[str] = []

    async with browser_page() as page:
        note_troubles(page, service.url, troubles)

        await page.goto(f"{service.url}/docs")
        register = operation(page, "post", "/users")
        await try_out(register)
        await register.locator(".body-param__text").fill(
            json.dumps({"email": email, "password": password})
        )
        await execute(register)
        await expect(answer(register)).to_contain_text("201")

        # With a trailing slash it is the same page, and its relative addresses lead as far.
        await page.goto(f"{service.url}/docs/")
        await authorize(page, email, password)
        me = operation(page, "get", "/users/me")
        await try_out(me)
        await execute(me)
        await expect(answer(me)).to_contain_text("200")
        await expect(answer(me)).to_contain_text(email)

    assert troubles == []


@asynccontextmanager
async def browser_page() -> AsyncIterator[Page]:
    async with (
        async_playwright() as playwright,
        await playwright.chromium.launch(
            executable_path=program("chromium"), args=FLAGS
        ) as browser,
    ):
        page = await browser.new_page()
        page.set_default_timeout(TIME_BUDGET)
        expect.set_options(timeout=TIME_BUDGET)
        yield page


def note_troubles(page: Page, home: str, troubles: list[str]) -> None:
    """Append whatever goes wrong on the page; violations of the policy show up on the console."""

    def sent(request: Request) -> None:
        if not request.url.startswith((f"{home}/", "data:")):
            troubles.append(f"foreign: {request.url}")

    def failed(request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # aborted: by going to another page
            troubles.append(f"failed: {request.url} {request.failure}")

    def answered(response: Response) -> None:
        if response.status >= 400:
            troubles.append(f"{response.status}: {response.url}")

    def said(line: ConsoleMessage) -> None:
        if line.type in {"error", "warning"}:
            troubles.append(f"console: {line.text}")

    page.on("request", sent)
    page.on("requestfailed", failed)
    page.on("response", answered)
    page.on("console", said)
    page.on("pageerror", lambda error: troubles.append(f"uncaught: {error}"))


def operation(page: Page, method: str, path: str) -> Locator:
    return page.locator(f".opblock-{method}").filter(has=page.locator(f'[data-path="{path}"]'))


async def try_out(operation: Locator) -> None:
    await operation.locator(".opblock-summary-control").click()
    await operation.get_by_role("button", name="Try it out").click()


async def execute(operation: Locator) -> None:
    await operation.get_by_role("button", name="Execute").click()


def answer(operation: Locator) -> Locator:
    """The answer that the service really gave, as opposed to the documented ones below it."""
    return operation.locator(".live-responses-table tbody")


async def authorize(page: Page, email: str, password: str) -> None:
    await page.locator(".auth-wrapper").get_by_role("button", name="Authorize").click()
    dialog = page.locator(".dialog-ux")
    await dialog.get_by_label("username").fill(email)
    await dialog.get_by_label("password").fill(password)
    await dialog.get_by_text("Authorize", exact=True).click()
    await expect(dialog.get_by_text("Authorized", exact=True)).to_be_visible()
    await dialog.get_by_text("Close", exact=True).click()
