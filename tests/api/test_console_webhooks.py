"""The console's pages of webhooks and jobs."""

import re

import pytest

from domain.users import Role
from tests.api.browser import Browser, leads_to
from tests.api.client import ApiClient, Person, on_one_database
from tests.api.test_webhooks import do_all, outgoing_of
from tests.jobs import do_next

pytestmark = on_one_database

URL = "https://example.com/hook"
PAGE = "/console/webhooks/1"


@pytest.fixture
async def admin(api: ApiClient, browser: Browser) -> Person:
    """An admin who has logged in."""
    admin = await api.person(role=Role.ADMIN)
    await browser.log_in(admin.email)
    return admin


async def test_a_webhook_is_made_changed_and_deleted_and_shows_each_secret_once(
    api: ApiClient, browser: Browser, admin: Person
) -> None:
    for form, message in (
        ({"url": URL}, "Fill this in."),
        ({"url": "", "events": "*"}, "Fill this in."),
        ({"url": URL, "events": "x"}, "Choose among what is offered."),
        ({"url": "http://localhost/", "events": "*"}, "An address of the host is not public"),
    ):
        refused = await browser.send("/console/webhooks", **form)
        assert refused.status_code == 422
        assert message in refused.text
        assert f'value="{form["url"]}"' in refused.text or not form["url"]

    made = await browser.send("/console/webhooks", url=URL, events="user_renamed")
    assert made.status_code == 200, made.text
    renewed = await browser.send(f"{PAGE}/secret")
    secrets = re.findall(r"whsec_[\w+/=]+", made.text + renewed.text)
    assert len(set(secrets)) == 2
    assert "whsec_" not in (await browser.see(PAGE)).text
    leads_to(await browser.send(PAGE, url=f"{URL}/2", events="*"), PAGE)
    assert (await browser.send(PAGE, url="http://localhost/", events="*")).status_code == 422
    leads_to(await browser.send(f"{PAGE}/state", active="false"), PAGE)
    assert (await browser.send(f"{PAGE}/state", active="perhaps")).status_code == 422
    (webhook,) = (await api.client.get("/webhooks", headers=admin.headers)).json()
    assert (webhook["url"], webhook["events"], webhook["active"]) == (f"{URL}/2", ["*"], False)
    for path in ("/console/webhooks", PAGE):
        assert ">off<" in (await browser.see(path)).text

    leads_to(await browser.send(f"{PAGE}/delete"), "/console/webhooks")
    for answer in (await browser.see(PAGE), await browser.send(f"{PAGE}/test")):
        assert answer.status_code == 404
        assert "There is no webhook 1" in answer.text


async def test_a_delivery_that_failed_is_sent_again(
    api: ApiClient, browser: Browser, admin: Person
) -> None:
    outgoing = outgoing_of(api)
    await browser.send("/console/webhooks", url=URL, events="user_renamed")
    leads_to(await browser.send(f"{PAGE}/test"), PAGE)
    assert "Send again" not in (await browser.see(PAGE)).text
    outgoing.status = 410

    await do_all(api)
    page = (await browser.see(PAGE)).text
    assert ">failed<" in page
    assert ">410<" in page
    assert ">off<" in page
    (again,) = re.findall(r'action="(/console/webhooks/1/deliveries/\d+/again)"', page)
    outgoing.status = 204
    leads_to(await browser.send(again), PAGE)
    await browser.send(f"{PAGE}/state", active="true")
    await do_all(api)

    assert ">delivered<" in (await browser.see(PAGE)).text
    assert (await browser.send(f"{PAGE}/deliveries/4711/again")).status_code == 404


async def test_deliveries_go_on_by_cursor(api: ApiClient, browser: Browser, admin: Person) -> None:
    await browser.send("/console/webhooks", url=URL, events="user_renamed")
    for _ in range(21):
        await browser.send(f"{PAGE}/test")

    first = (await browser.see(PAGE)).text
    (link,) = re.findall(r'rel="next" href="([^"]+)"', first)
    second = await browser.see(link.replace("&amp;", "&"))

    assert [page.count("Webhook test</th>") for page in (first, second.text)] == [20, 1]
    assert 'rel="next"' not in (await browser.send(f"{PAGE}/secret")).text
    assert (await browser.see(f"{PAGE}?after=x")).status_code == 400


async def test_a_job_that_failed_is_shown_with_its_reason_and_runs_again(
    api: ApiClient, browser: Browser, admin: Person
) -> None:
    await do_all(api)
    assert "Nothing waits" in (await browser.see("/console/jobs")).text
    await browser.send("/console/webhooks", url=URL, events="user_renamed")
    await browser.send(f"{PAGE}/test")
    outgoing = outgoing_of(api)
    outgoing.status = None
    await do_next(api.app.state.services)
    page = (await browser.see("/console/jobs")).text
    assert "no answer in time" in page
    assert not await do_next(api.app.state.services)

    (again,) = re.findall(r'action="(/console/jobs/\d+/again)"', page)
    leads_to(await browser.send(again), "/console/jobs")
    outgoing.status = 204
    await do_all(api)

    assert len(outgoing.sent) == 1
    gone = await browser.send(again)
    assert gone.status_code == 404
    assert "There is no job" in gone.text
