"""Passkeys on the console's pages, in a real browser with scripts and a virtual authenticator."""

from playwright.async_api import Page, expect

from tests.journeys.processes import Service
from tests.journeys.test_console import (
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

EMAIL = "passkeys@example.com"


async def test_a_passkey_is_added_logs_in_alone_and_after_a_password_and_is_deleted(
    service: Service,
) -> None:
    # The relying party of a service in development is localhost.
    url, troubles = service.url.replace("127.0.0.1", "localhost"), list[str]()
    async with service.async_client() as client, chromium() as browser:
        registered = await client.post("/users", json={"email": EMAIL, "password": PASSWORD})
        assert registered.status_code == 201
        page = await open_page(browser, scripts=True)
        note_troubles(page, url, troubles)
        devtools = await page.context.new_cdp_session(page)
        await devtools.send("WebAuthn.enable")
        added = await devtools.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})

        await log_in(page, url, EMAIL)
        await page.get_by_role("link", name="Passkeys", exact=True).click()
        await fill(page, name="Phone")
        await press(page, "Add a passkey")
        await says(page, "The passkey is added")
        # One device makes one passkey of an account, but not before a factor proved who asks.
        await fill(page, name="Phone again")
        await proves_by_passkey(page, url, troubles)
        await fill(page, name="Phone again")
        await press(page, "Add a passkey")
        await expect(page.get_by_text("has a passkey of your account already")).to_be_visible()

        await press(page, "Log out")
        await press(page, "Log in with a passkey")
        await expect(page).to_have_url(f"{url}/console")
        await press(page, "Log out")
        await fill(page, username=EMAIL, password=PASSWORD)
        await press(page, "Log in")
        await press(page, "Use a passkey")
        await expect(page).to_have_url(f"{url}/console")

        await page.get_by_role("link", name="Passkeys", exact=True).click()
        await page.get_by_label("Delete Phone").click()
        await press(page, "Delete this passkey")
        await says(page, "The passkey is deleted")
        await press(page, "Log out")
        await press(page, "Log in with a passkey")
        await says(page, "This passkey logs in to no account here")
        await devtools.send("WebAuthn.removeVirtualAuthenticator", added)
        await log_in(page, url, EMAIL)

    refused = f"401: {url}/console/login/passkey"
    assert [it for it in troubles if refused not in it and "status of 401" not in it] == []


async def proves_by_passkey(page: Page, url: str, troubles: list[str]) -> None:
    """The options of another passkey are refused, which leads to the proof and back."""
    await press(page, "Add a passkey")
    await expect(page.get_by_role("heading", name="Prove that it is you")).to_be_visible()
    assert f"401: {url}/users/me/passkeys/options" in troubles
    troubles.clear()
    await press(page, "Use a passkey")
    await says(page, "You can go on now")
