"""The console's pages of passkeys: what their script sends, and what comes back."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.api.browser import HOSTILE, SAME, Browser, browser_of, leads_to
from tests.api.client import PASSWORD, ApiClient, Person, application, on_one_database
from tests.authenticator import Flaws, SoftwareAuthenticator, assertion_json, attestation_json

pytestmark = on_one_database

BACK = {"return": "/console/security"}


async def options(browser: Browser, path: str) -> Mapping[str, Any]:
    answer = await browser.client.post(path, headers=SAME)
    assert answer.status_code == 200, answer.text
    given: Mapping[str, Any] = answer.json()
    return given


async def used(browser: Browser, phone: SoftwareAuthenticator, **flaws: Any) -> str:
    """What the script sends after the use of a passkey."""
    asked = await options(browser, "/login/passkey/options")
    return json.dumps(assertion_json(phone.get(asked, Flaws(**flaws))))


async def made(browser: Browser, phone: SoftwareAuthenticator) -> str:
    """What the script sends with a new passkey."""
    asked = await options(browser, "/users/me/passkeys/options")
    return json.dumps(attestation_json(phone.create(asked)))


@pytest.fixture
async def anna(api: ApiClient) -> Person:
    return await api.person()


@pytest.fixture
async def phone(browser: Browser, anna: Person) -> SoftwareAuthenticator:
    """With a passkey of Anna's, who has no session afterwards."""
    phone = SoftwareAuthenticator()
    await browser.log_in(anna.email)
    added = await browser.send(
        "/console/passkeys", name=HOSTILE, credential=await made(browser, phone)
    )
    leads_to(added, "/console/passkeys")
    browser.client.cookies.clear()
    return phone


async def test_a_passkey_logs_in_alone_and_leads_back(
    browser: Browser, phone: SoftwareAuthenticator
) -> None:
    refused = await browser.send("/console/login/passkey", credential=await used(browser, phone))
    leads_to(refused, "/console")
    browser.client.cookies.clear()
    for wrong in (await used(browser, phone, signature=b"bogus"), "{}", "[" * 1000, ""):
        answer = await browser.send("/console/login/passkey", credential=wrong)
        assert answer.status_code in (401, 422)
        assert "Set-Cookie" not in answer.headers
        assert "Incorrect username" not in answer.text

    answer = await browser.send(
        "/console/login/passkey", credential=await used(browser, phone), **BACK
    )
    leads_to(answer, "/console/security")


async def test_a_passkey_is_the_second_step_and_a_failure_can_be_tried_again(
    browser: Browser, anna: Person, phone: SoftwareAuthenticator
) -> None:
    page = await browser.log_in(anna.email)
    assert 'name="code"' not in page.text
    for flaws, status in (({"signature": b"bogus"}, 401), ({}, 303)):
        step = dict(re.findall(r'name="(challenge|methods)" value="([^"]+)"', page.text))
        assert step["methods"] == "passkey"
        answer = await browser.send(
            "/console/login/second-factor",
            **step,
            credential=await used(browser, phone, **flaws),
            **BACK,
        )
        assert answer.status_code == status
        page = answer if status == 401 else page

    leads_to(answer, "/console/security")


async def test_passkeys_are_listed_renamed_and_deleted_once_the_session_is_fresh(
    api: ApiClient, browser: Browser, anna: Person, phone: SoftwareAuthenticator
) -> None:
    await browser.send("/console/login/passkey", credential=await used(browser, phone))
    page = await browser.see("/console/passkeys")
    assert HOSTILE not in page.text
    (id_,) = re.findall(r"/console/passkeys/(\d+)/delete", page.text)
    of_it = f"/console/passkeys/{id_}"

    assert (await browser.send(f"{of_it}/name", name="x" * 65)).status_code == 422
    leads_to(await browser.send(f"{of_it}/name", name="Phone"), "/console/passkeys")
    assert "Phone" in (await browser.see("/console/passkeys")).text
    api.clock.ahead += timedelta(minutes=11)
    stale = await browser.send(f"{of_it}/delete")
    leads_to(stale, "/console/proof")
    assert stale.headers["Location"].endswith("return=%2Fconsole%2Fpasskeys")
    page = await browser.see(stale.headers["Location"])
    assert 'data-passkey="get"' in page.text
    assert 'name="proof"' not in page.text
    wrong = await used(browser, phone, signature=b"bogus")
    assert (await browser.send("/console/proof", credential=wrong)).status_code == 422
    back = {"return": "/console/passkeys"}
    proved = await browser.send("/console/proof", credential=await used(browser, phone), **back)
    leads_to(proved, "/console/passkeys")
    leads_to(await browser.send(f"{of_it}/delete"), "/console/passkeys")

    assert (await browser.send(f"{of_it}/delete")).status_code == 404
    browser.client.cookies.clear()
    leads_to(await browser.log_in(anna.email), "/console")


async def test_a_passkey_that_is_refused_is_told_on_the_page(
    api: ApiClient, browser: Browser, anna: Person
) -> None:
    phone = SoftwareAuthenticator(origin="https://evil.example")
    await browser.log_in(anna.email)

    for name, credential in (("Phone", await made(browser, phone)), ("", "{}")):
        answer = await browser.send("/console/passkeys", name=name, credential=credential)
        assert answer.status_code == 422
        assert "Add a passkey" in answer.text
    credential = await made(browser, SoftwareAuthenticator())
    api.clock.ahead += timedelta(minutes=11)
    stale = await browser.send("/console/passkeys", name="Phone", credential=credential)
    leads_to(stale, "/console/proof")


async def test_without_a_relying_party_no_page_speaks_of_passkeys(
    api: ApiClient, anna: Person
) -> None:
    app = application(replace(api.ports, passkeys=None), plain_cookies=True)
    async with browser_of(app) as browser:
        login = await browser.see("/console/login")
        await browser.log_in(anna.email, PASSWORD)
        security = await browser.see("/console/security")

        for page in (login, security):
            assert "asskey" not in page.text
            assert "<script" not in page.text
            assert "script-src" not in page.headers["Content-Security-Policy"]
        assert (await browser.see("/console/passkeys")).status_code == 404
