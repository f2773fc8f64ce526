"""The console's pages of an account, as a browser without scripts uses them."""

import re
from datetime import timedelta

import pytest

from api.console.rendering import local_path
from tests.api.browser import Browser, browser_of, leads_to
from tests.api.client import (
    PASSWORD,
    ApiClient,
    application,
    on_one_database,
)
from tests.api.test_one_time_codes import ask_for_verification, ask_to_move, delivered

pytestmark = on_one_database

NEW_PASSWORD = "staple battery horse"


async def test_somebody_registers_and_is_logged_in(api: ApiClient, browser: Browser) -> None:
    answer = await browser.send(
        "/console/register", name="Anna", email="anna@example.com", password=PASSWORD
    )

    leads_to(answer, "/console")
    page = await browser.see(answer.headers["Location"])
    assert "anna@example.com" in page.text
    assert "Welcome" in page.text


async def test_a_refused_registration_keeps_what_was_entered_but_the_password(
    browser: Browser,
) -> None:
    for email, password, status, message in (
        ("anna@example.com", "short", 422, "password"),
        ("not an address", PASSWORD, 422, "This is no e-mail address."),
    ):
        answer = await browser.send(
            "/console/register", name="Anna", email=email, password=password
        )
        assert answer.status_code == status
        assert message in answer.text
        assert f'value="{email}"' in answer.text
        assert password not in answer.text.replace("password", "")


async def test_login_leads_back_and_a_wrong_password_does_not_log_in(
    api: ApiClient, browser: Browser
) -> None:
    anna = await api.person()
    leads_to(await browser.see("/console/security"), "/console/login")

    answer = await browser.log_in(anna.email, "wrong")
    assert answer.status_code == 401
    assert "Incorrect username or password" in answer.text
    assert "WWW-Authenticate" not in answer.headers
    assert "Set-Cookie" not in answer.headers

    answer = await browser.send(
        "/console/login", username=anna.email, password=PASSWORD, **{"return": "/console/security"}
    )
    leads_to(answer, "/console/security")
    assert (await browser.see("/console/security")).status_code == 200
    leads_to(await browser.see("/console/login"), "/console")


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example",
        "https://evil.example/console",
        "/console//evil.example",
        "/console/../../evil",
        "/console\\evil",
        "/consoles",
        "/console\r\nSet-Cookie: a=b",
        "javascript:alert(1)",
        "/console@evil.example",
        "",
        "/posts",
    ],
)
async def test_return_leads_to_pages_of_the_console_alone(
    api: ApiClient, browser: Browser, path: str
) -> None:
    anna = await api.person()

    answer = await browser.send(
        "/console/login", username=anna.email, password=PASSWORD, **{"return": path}
    )

    leads_to(answer, "/console")
    assert local_path("/console/audit?subject=user%3A7&name=x") != "/console"


async def test_the_profile_password_and_address_change_as_through_the_api(
    api: ApiClient, browser: Browser
) -> None:
    anna = await api.person()
    await browser.log_in(anna.email)

    leads_to(await browser.send("/console/name", name=" Anna Meyer "), "/console")
    assert (await api.me(anna)).json()["name"] == "Anna Meyer"
    for current, status in (("wrong", 403), (PASSWORD, 303)):
        answer = await browser.send(
            "/console/address", email="new@example.com", current_password=current
        )
        assert answer.status_code == status, answer.text
    assert (await api.me(anna)).json()["pending_email"] == "new@example.com"
    for current, new, status in (
        ("wrong", NEW_PASSWORD, 403),
        (PASSWORD, "short", 422),
        (PASSWORD, NEW_PASSWORD, 303),
    ):
        answer = await browser.send("/console/password", current_password=current, new_password=new)
        assert answer.status_code == status, answer.text
    assert (await browser.see("/console/security")).status_code == 200
    assert (await api.me(anna)).status_code == 401
    assert (await api.log_in(anna.email, NEW_PASSWORD)).status_code == 200


async def test_one_session_or_all_are_ended(api: ApiClient, browser: Browser) -> None:
    anna, bert = await api.person(), await api.person()
    await browser.log_in(anna.email)
    ids = [s["id"] for s in (await api.client.get("/sessions", headers=anna.headers)).json()]
    (theirs,) = (await api.client.get("/sessions", headers=bert.headers)).json()

    assert (await browser.send(f"/console/sessions/{theirs['id']}/end")).status_code == 404
    page = await browser.see("/console/security")
    assert "Firefox on Linux" in page.text
    leads_to(await browser.send(f"/console/sessions/{ids[1]}/end"), "/console/security")
    assert (await api.me(anna)).status_code == 401

    answer = await browser.send("/console/sessions/end")
    leads_to(answer, "/console/login")
    leads_to(await browser.see("/console"), "/console/login")
    assert (await api.me(bert)).status_code == 200


async def test_an_account_is_deleted_with_its_password(api: ApiClient, browser: Browser) -> None:
    anna = await api.person()
    await browser.log_in(anna.email)

    answer = await browser.send("/console/deletion", current_password="wrong")
    assert answer.status_code == 403
    leads_to(await browser.send("/console/deletion", current_password=PASSWORD), "/console/login")

    assert (await api.log_in(anna.email)).status_code == 401


async def test_logging_out_ends_the_session(api: ApiClient, browser: Browser) -> None:
    anna = await api.person()
    answer = await browser.log_in(anna.email)
    cookie = answer.headers["Set-Cookie"].partition(";")[0]

    leads_to(await browser.send("/console/logout"), "/console/login")

    browser.client.cookies.clear()
    browser.client.headers["Cookie"] = cookie
    leads_to(await browser.see("/console"), "/console/login")


async def test_a_mailed_link_acts_on_a_click_and_not_when_it_is_fetched(
    api: ApiClient, browser: Browser
) -> None:
    anna = await api.person()
    token = await ask_for_verification(api, anna)

    for _ in range(2):
        page = await browser.see(f"/console/verify?token={token}")
        assert page.status_code == 200
        assert page.headers["Referrer-Policy"] == "no-referrer"
        assert page.headers["Cache-Control"] == "no-store"
        assert not (await api.me(anna)).json()["is_verified"]
    leads_to(await browser.send("/console/verify", token=token), "/console/login")
    assert (await api.me(anna)).json()["is_verified"]

    again = await browser.send("/console/verify", token=token)
    assert again.status_code == 400
    assert "A link works once" in again.text


async def test_a_forgotten_password_is_replaced_by_a_mailed_link(
    api: ApiClient, browser: Browser
) -> None:
    anna = await api.person()
    texts = []
    for email in ("nobody@example.com", anna.email):
        answer = await browser.send("/console/forgot", email=email)
        assert answer.status_code == 200
        texts.append(answer.text.replace(email, ""))
    assert texts[0] == texts[1]
    (token,) = await delivered(api)

    assert (await browser.see(f"/console/reset?token={token}")).status_code == 200
    refused = await browser.send("/console/reset", token=token, password="short")
    assert refused.status_code == 422
    assert token in refused.text
    leads_to(
        await browser.send("/console/reset", token=token, password=NEW_PASSWORD), "/console/login"
    )
    again = await browser.send("/console/reset", token=token, password=NEW_PASSWORD)
    assert again.status_code == 400
    assert "works once" in again.text
    assert (await api.log_in(anna.email, NEW_PASSWORD)).status_code == 200


async def test_an_undone_change_of_address_brings_it_back(api: ApiClient, browser: Browser) -> None:
    anna = await api.person()
    token, _ = await ask_to_move(api, anna, "thief@example.com")

    assert (await browser.see(f"/console/undo?token={token}")).status_code == 200
    leads_to(await browser.send("/console/undo", token=token), "/console/login")

    assert (await browser.send("/console/undo", token=token)).status_code == 400
    assert (await api.me(anna)).status_code == 401


async def test_a_personal_token_is_made_shown_once_and_deleted(
    api: ApiClient, browser: Browser
) -> None:
    anna = await api.person()
    await browser.log_in(anna.email)
    form = {"name": "<b>backup</b>", "days": "30"}
    for wrong in ({}, {"scopes": "admin"}, {"scopes": "session"}, {"scopes": "x"}):
        answer = await browser.send("/console/tokens", **form, **wrong)
        assert answer.status_code in (403, 422), wrong
    page = await browser.send("/console/tokens", **form, scopes="account:read")
    assert page.status_code == 200, page.text
    (token,) = re.findall(r'<code class="secret">(gp_\w+)</code>', page.text)
    headers = {"Authorization": f"Bearer {token}"}
    assert (await api.client.get("/users/me", headers=headers)).status_code == 200
    page = await browser.see("/console/tokens")
    assert token not in page.text
    (token_id,) = re.findall(r"/console/tokens/(\d+)/delete", page.text)

    leads_to(await browser.send(f"/console/tokens/{token_id}/delete"), "/console/tokens")
    assert (await api.client.get("/users/me", headers=headers)).status_code == 401
    api.clock.ahead += timedelta(minutes=11)
    stale = await browser.send("/console/tokens", **form, scopes="account:read")
    leads_to(stale, "/console/proof")
    assert stale.headers["Location"].endswith("return=%2Fconsole%2Ftokens")


async def test_pages_lead_on_below_the_root_path(api: ApiClient) -> None:
    anna = await api.person()
    app = application(api.ports, plain_cookies=True, root_path="/gate")
    async with browser_of(app) as browser:
        answer = await browser.see("/console/security")
        assert answer.headers["Location"] == "/gate/console/login?return=%2Fconsole%2Fsecurity"
        answer = await browser.send(
            "/console/login",
            username=anna.email,
            password=PASSWORD,
            **{"return": "/console/security"},
        )
        assert answer.headers["Location"] == "/gate/console/security"
        page = (await browser.see("/console/security")).text
        assert 'href="/console' not in page
        assert 'aria-current="page">Security' in page


async def test_a_page_that_another_site_sends_is_refused_as_a_page(
    browser: Browser,
) -> None:
    answer = await browser.client.post(
        "/console/login",
        data={"username": "a@example.com", "password": "x"},
        headers={"Sec-Fetch-Site": "cross-site"},
    )

    assert answer.status_code == 403
    assert answer.headers["Content-Type"].startswith("text/html")
