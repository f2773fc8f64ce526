"""Mail from a real service through a real SMTP server."""

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.journeys.processes import Place, on_both_databases
from tests.smtp import Inbox, part_of, running_smtp

PASSWORD = "correct horse battery"
NEW = "staple battery horse"
SECRET = "vX3kQ8mZ5rT1wN7yB4sL9dH2jF6gC0pU"
EMAIL = "anna@example.com"
TOKEN = re.compile(r"^[A-Za-z0-9_-]{40,}$", re.MULTILINE)


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
async def smtp(inbox: Inbox, place: Place) -> AsyncIterator[str]:
    """The address of a server that the service in `place` sends its mail to."""
    async with running_smtp(inbox) as address:
        place.settings |= {
            "SMTP_URL": f"smtp://{address}",
            "PUBLIC_URL": "https://example.org",
            "MAIL_FROM": "Gatepost <post@example.org>",
        }
        yield address


async def register(client: httpx.AsyncClient) -> None:
    answer = await client.post("/users", json={"email": EMAIL, "password": PASSWORD})
    assert answer.status_code == 201, answer.text


async def log_in(client: httpx.AsyncClient, password: str = PASSWORD) -> httpx.Response:
    return await client.post("/login", data={"username": EMAIL, "password": password})


async def ask_for_reset(client: httpx.AsyncClient) -> None:
    answer = await client.post("/password-reset", json={"email": EMAIL})
    assert answer.status_code == 202, answer.text


async def test_a_forgotten_password_is_reset_by_mail(place: Place, smtp: str, inbox: Inbox) -> None:
    with place.serving() as service:
        async with service.async_client() as client:
            await register(client)
            await ask_for_reset(client)
            mail = await inbox.mail()
            (token,) = TOKEN.findall(part_of(mail, "plain"))
            body = {"token": token, "new_password": NEW}
            assert (await client.put("/password-reset", json=body)).status_code == 204
            assert (await log_in(client, NEW)).status_code == 200
            assert (await log_in(client)).status_code == 401
            notice = await inbox.mail(2)
        assert token not in service.log.read_text()

    assert (mail["To"], mail["From"]) == (EMAIL, "Gatepost <post@example.org>")
    assert f"https://example.org/console/reset?token={token}" in part_of(mail, "html")
    assert (notice["To"], notice["Subject"]) == (EMAIL, "Your password was reset")
    assert "by a client at the address 127.0.0.1" in part_of(notice, "plain").replace("\n", " ")
    assert len(inbox.mails) == 2


async def test_a_quiet_registration_is_completed_by_mail_and_tells_nothing(
    place: Place, smtp: str, inbox: Inbox
) -> None:
    place.settings["REGISTRATION"] = "quiet"
    registration = {"email": EMAIL, "password": PASSWORD}
    with place.serving() as service:
        async with service.async_client() as client:
            free = await client.post("/users", json=registration)
            assert free.status_code == 202
            assert (await log_in(client)).json()["code"] == "invalid_credentials"
            (token,) = TOKEN.findall(part_of(await inbox.mail(), "plain"))
            verified = await client.post("/verification", json={"token": token})
            assert verified.status_code == 204
            assert (await log_in(client)).status_code == 200

            taken = await client.post("/users", json=registration | {"password": NEW})
            assert (taken.status_code, taken.content) == (free.status_code, free.content)
            notice = part_of(await inbox.mail(2), "plain")
            assert (await log_in(client, NEW)).status_code == 401

    assert TOKEN.findall(notice) == []
    assert {mail["To"] for mail in inbox.mails} == {EMAIL}


async def test_in_production_a_token_is_never_printed(place: Place) -> None:
    place.settings |= {"ENVIRONMENT": "production", "SECRET_KEY": SECRET}
    place.run("migrate")
    with place.serving() as service:
        async with service.async_client() as client:
            await register(client)
            await ask_for_reset(client)
        service.wait_for_line("no mail server is set")
        service.process.send_signal(signal.SIGINT)
        service.process.wait()
        assert service.process.stdout is not None
        assert TOKEN.findall(service.process.stdout.read().decode()) == []
        assert TOKEN.findall(service.log.read_text()) == []


async def test_without_a_server_mails_are_printed(place: Place) -> None:
    with place.serving() as service:
        async with service.async_client() as client:
            await register(client)
            await ask_for_reset(client)
        assert service.process.stdout is not None
        while not (token := TOKEN.findall(service.process.stdout.readline().decode())):
            pass
        async with service.async_client() as client:
            body = {"token": token[0], "new_password": NEW}
            assert (await client.put("/password-reset", json=body)).status_code == 204


@on_both_databases
async def test_no_mail_is_lost_when_the_service_is_killed(place: Place, inbox: Inbox) -> None:
    async with running_smtp(Inbox()) as address:
        place.settings |= {"SMTP_URL": f"smtp://{address}"}
    # Nobody listens there any more.
    with place.serving() as service:
        async with service.async_client() as client:
            await register(client)
            await ask_for_reset(client)
        service.wait_for_line("(mail) failed")
        # The line comes before the note. Without that, the job is the dead process's for a minute.
        while not any(job["error"] for job in json.loads(place.run("jobs", "--json").stdout)):
            pass
        service.process.send_signal(signal.SIGKILL)
        service.process.wait()

    async with running_smtp(inbox, port=int(address.rpartition(":")[2])):
        with place.serving():
            mail = await inbox.mail()

    assert mail["To"] == EMAIL


@on_both_databases
async def test_several_workers_send_each_mail_once(place: Place, smtp: str, inbox: Inbox) -> None:
    with place.serving("--workers", "2") as service:
        async with service.async_client() as client:
            await register(client)
        for _ in range(10):
            # A connection of its own for each, so that both workers get some.
            async with service.async_client() as client:
                await asyncio.gather(*(ask_for_reset(client) for _ in range(2)))
        await inbox.mail(20)
        await asyncio.sleep(0.5)

    tokens = {TOKEN.findall(part_of(mail, "plain"))[0] for mail in inbox.mails}
    assert len(inbox.mails) == len(tokens) == 20


async def test_an_event_has_its_line_in_the_log_and_no_address_in_production(
    place: Place, smtp: str, inbox: Inbox
) -> None:
    place.settings |= {
        "ENVIRONMENT": "production",
        "DRAIN_SECONDS": "0",
        "SECRET_KEY": "vX3kQ8mZ5rT1wN7yB4sL9dH2jF6gC0pU",
    }
    with place.serving() as service:
        async with service.async_client() as client:
            await register(client)
            await ask_for_reset(client)
        await inbox.mail()
        line = service.wait_for_line('"message": "user_registered"')
        assert '"subject": "user:1"' in line
        assert '"ip": "127.0.0.1"' in line
        service.wait_for_line("password_reset_requested", '"request_id"')
        assert "anna" not in service.log.read_text()
