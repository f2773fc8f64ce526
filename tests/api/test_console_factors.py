"""The console's pages of second factors."""

import re
from datetime import timedelta

from domain.users import Role
from tests.api.authenticator import Authenticator, enrol
from tests.api.browser import Browser, leads_to
from tests.api.client import PASSWORD, ApiClient, Person, on_one_database

pytestmark = on_one_database


async def enrolled(api: ApiClient, browser: Browser, person: Person) -> Authenticator:
    """The person's app, added by the pages of a browser that has just logged in."""
    await browser.log_in(person.email)
    page = await browser.send("/console/totp")
    assert page.status_code == 200, page.text
    assert "<svg" in page.text
    assert page.headers["Cache-Control"] == "no-store"
    (secret,) = re.findall(r'<code class="secret">([A-Z2-7]+)</code>', page.text)
    app = Authenticator(api=api, secret=secret)
    refused = await browser.send("/console/totp/confirm", code="000000")
    assert refused.status_code == 422
    page = await browser.send("/console/totp/confirm", code=app.code())
    assert page.status_code == 200, page.text
    app.recovery_codes = re.findall(r"<li><code>(.+?)</code>", page.text)
    assert len(app.recovery_codes) == 10
    return app


async def second_step(browser: Browser, person: Person, code: str) -> tuple[int, str]:
    """Start another login and answer it with this code. Returns the status and the target."""
    browser.client.cookies.clear()
    page = await browser.log_in(person.email)
    assert page.status_code == 200
    assert "Second step" in page.text
    (challenge,) = re.findall(r'name="challenge" value="([^"]+)"', page.text)
    answer = await browser.send(
        "/console/login/second-factor",
        challenge=challenge,
        code=code,
        **{"return": "/console/security"},
    )
    return answer.status_code, answer.headers.get("Location", "")


async def test_an_app_is_added_and_asked_for_at_the_login(api: ApiClient, browser: Browser) -> None:
    anna = await api.person()
    app = await enrolled(api, browser, anna)
    assert "10 recovery codes are left" in (await browser.see("/console/security")).text

    assert await second_step(browser, anna, "000000") == (401, "")
    leads_to(await browser.see("/console"), "/console/login")
    assert await second_step(browser, anna, app.code()) == (303, "/console/security")
    assert await second_step(browser, anna, app.recovery_codes[0]) == (303, "/console/security")
    assert (await second_step(browser, anna, app.recovery_codes[0]))[0] == 401
    assert await second_step(browser, anna, app.recovery_codes[1]) == (303, "/console/security")
    assert "8 recovery codes are left" in (await browser.see("/console/security")).text

    codes = await browser.send("/console/recovery-codes")
    assert len(re.findall(r"<li><code>", codes.text)) == 10
    leads_to(await browser.send("/console/totp/remove"), "/console/security")
    browser.client.cookies.clear()
    leads_to(await browser.log_in(anna.email), "/console")


async def test_a_stale_session_is_proved_again_and_led_back(
    api: ApiClient, browser: Browser
) -> None:
    anna = await api.person()
    await browser.log_in(anna.email)
    api.clock.ahead += timedelta(minutes=11)

    answer = await browser.send("/console/totp")
    leads_to(answer, "/console/proof")
    assert "Password" in (await browser.see(answer.headers["Location"])).text
    back = {"return": "/console/security"}
    assert (await browser.send("/console/proof", proof="wrong", **back)).status_code == 403
    leads_to(await browser.send("/console/proof", proof=PASSWORD, **back), "/console/security")

    assert (await browser.send("/console/totp")).status_code == 200


async def test_an_admin_ends_the_sessions_and_removes_the_factors_of_a_user(
    api: ApiClient, browser: Browser
) -> None:
    anna, admin = await api.person(), await api.person(role=Role.ADMIN)
    await enrol(api, anna)
    await browser.log_in(admin.email)
    page = f"/console/users/{anna.id}"
    assert "Second factors" in (await browser.see(page)).text

    leads_to(await browser.send(f"{page}/sessions/end"), page)
    assert (await api.me(anna)).status_code == 401
    api.clock.ahead += timedelta(minutes=11)
    answer = await browser.send(f"{page}/factors/remove")
    leads_to(answer, "/console/proof")
    assert answer.headers["Location"].endswith(f"return=%2Fconsole%2Fusers%2F{anna.id}")
    leads_to(await browser.send("/console/proof", proof=PASSWORD, **{"return": page}), page)
    leads_to(await browser.send(f"{page}/factors/remove"), page)

    assert (await api.log_in(anna.email)).status_code == 200
    assert "Second factors" not in (await browser.see(page)).text
