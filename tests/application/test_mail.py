"""Mail with one-time codes: recipients, retries and delivery."""

import asyncio
import re
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from application.job_kinds import MAIL
from application.ports.mail import Mail, MailNotSent, MailRefused
from application.services import Services, build_services
from application.worker import LEASE
from domain.notices import NOTICE_LIFETIME, Notice
from domain.one_time_codes import LIFETIMES, Purpose
from domain.users import User
from tests.factories import UserDraftFactory
from tests.fakes.clock import NOON
from tests.fakes.ports import FakePorts
from tests.jobs import do_next, worker_of

EMAIL = "anna@example.com"
PASSWORD = "correct horse battery"
NEW = "staple battery horse"
SECOND = timedelta(seconds=1)
TOKEN = re.compile(r"[A-Za-z0-9_-]{20,}")


@pytest.fixture
async def anna(services: Services) -> User:
    return await services.accounts.register(UserDraftFactory.build(email=EMAIL), PASSWORD)


def token_of(mail: Mail) -> str:
    """What stands alone on a line."""
    (token,) = (line for line in mail.text.splitlines() if TOKEN.fullmatch(line))
    return token


async def reset_token(ports: FakePorts, services: Services, email: str = EMAIL) -> str:
    await services.codes.ask_for_reset(email)
    assert await do_next(services)
    return token_of(ports.mailer.sent[-1])


async def verification_token(ports: FakePorts, services: Services, user: User) -> str:
    await services.codes.ask_for_verification(user)
    assert await do_next(services)
    return token_of(ports.mailer.sent[-1])


async def password_is(ports: FakePorts, password: str) -> bool:
    known = await ports.queries.credentials(EMAIL)
    return await ports.passwords.verify(password, known.password if known else None)


# What is mailed, and to whom


async def test_an_unknown_address_gets_no_mail_for_the_same_work(
    ports: FakePorts, services: Services, anna: User
) -> None:
    for email in ("nobody@example.com", EMAIL):
        work = ports.passwords.work
        await services.codes.ask_for_reset(email)
        assert ports.passwords.work == work

    assert len(ports.storage.committed.jobs) == 2
    while await do_next(services):
        pass
    assert [mail.to for mail in ports.mailer.sent] == [EMAIL]
    assert ports.storage.committed.jobs == {}


async def test_a_mail_goes_to_the_address_as_it_was_registered(
    ports: FakePorts, services: Services, anna: User
) -> None:
    await reset_token(ports, services, "ANNA@example.com")

    assert ports.mailer.sent[0].to == EMAIL


async def test_a_deactivated_user_gets_no_mail(
    ports: FakePorts, services: Services, anna: User
) -> None:
    ports.storage.change_user(anna.id, is_active=False)
    await services.codes.ask_for_reset(EMAIL)

    assert await do_next(services)

    assert ports.mailer.sent == []
    assert ports.storage.committed.codes == {}


async def test_a_verified_user_gets_no_verification_mail(
    ports: FakePorts, services: Services, anna: User
) -> None:
    await services.codes.ask_for_verification(anna)
    ports.storage.change_user(anna.id, is_verified=True)
    verified = await services.accounts.user(anna.id)

    await services.codes.ask_for_verification(verified)

    assert len(ports.storage.committed.jobs) == 1
    await do_next(services)
    assert ports.mailer.sent == []


async def test_a_message_to_a_former_address_is_not_sent(
    ports: FakePorts, services: Services, anna: User
) -> None:
    await services.codes.ask_for_verification(anna)
    await services.codes.ask_for_reset(anna.email)
    ports.storage.change_user(anna.id, email="new@example.com")

    while await do_next(services):
        pass

    assert ports.mailer.sent == []


async def test_a_mail_has_its_token_and_expiry(
    ports: FakePorts, services: Services, anna: User
) -> None:
    token = await reset_token(ports, services)

    (mail,) = ports.mailer.sent
    assert mail.token == token
    assert "2026-11-23 13:00 UTC" in mail.text
    assert token not in repr(mail)
    assert "http" not in mail.text


async def test_a_failed_message_is_retried_with_growing_pauses(
    ports: FakePorts, services: Services, anna: User
) -> None:
    await services.codes.ask_for_reset(EMAIL)
    ports.mailer.trouble = MailNotSent("no answer")

    for seconds in (2, 4, 8):
        assert await do_next(services)
        ports.clock.advance(seconds * SECOND - timedelta(microseconds=1))
        assert not await do_next(services)
        ports.clock.advance(timedelta(microseconds=1))
    ports.mailer.trouble = None

    assert await do_next(services)
    assert not await do_next(services)
    await services.codes.reset(token_of(ports.mailer.sent[0]), NEW)


@pytest.mark.parametrize("trouble", [MailNotSent("no answer"), None])
async def test_a_message_older_than_the_lifetime_of_its_code_is_given_up(
    ports: FakePorts, services: Services, anna: User, trouble: Exception | None
) -> None:
    await services.codes.ask_for_reset(EMAIL)
    if trouble:
        ports.mailer.trouble = trouble
        assert await do_next(services)
        ports.mailer.trouble = None
    ports.clock.advance(LIFETIMES[Purpose.PASSWORD_RESET])

    assert await do_next(services)

    assert ports.mailer.sent == []
    (job,) = ports.storage.committed.jobs.values()
    assert (job.failed_at, job.error) == (
        ports.clock(),
        "it waited for longer than anybody needs it",
    )


async def test_a_message_that_failed_twenty_times_in_66_hours_is_given_up(
    ports: FakePorts, services: Services, anna: User
) -> None:
    async with ports.storage() as uow:
        await uow.outbox.add(Notice.TOKEN_MADE, EMAIL, NOON, user_id=anna.id)
        await uow.commit()
    ports.mailer.trouble = MailNotSent("no answer")
    attempts = 0
    while await do_next(services):
        attempts += 1
        (job,) = ports.storage.committed.jobs.values()
        if job.failed_at is None:
            ports.clock.now = job.due_at

    assert attempts == job.attempts == 20
    assert (job.state, job.error) == ("failed", "no answer")
    assert timedelta(hours=66) < ports.clock() - NOON < NOTICE_LIFETIME


async def test_a_refused_message_is_not_retried(
    ports: FakePorts, services: Services, anna: User
) -> None:
    await services.codes.ask_for_reset(EMAIL)
    ports.mailer.trouble = MailRefused("no such address")

    assert await do_next(services)

    (job,) = ports.storage.committed.jobs.values()
    assert (job.failed_at, job.error) == (ports.clock(), "no such address")


async def test_a_failing_message_does_not_delay_others(
    ports: FakePorts, services: Services, anna: User
) -> None:
    await services.codes.ask_for_reset(EMAIL)
    ports.mailer.trouble = ZeroDivisionError()
    assert await do_next(services)
    ports.mailer.trouble = None

    await services.codes.ask_for_verification(anna)
    assert await do_next(services)

    assert len(ports.mailer.sent) == 1
    assert len(ports.storage.committed.jobs) == 1


async def test_another_process_sends_a_message_whose_sender_died(
    ports: FakePorts, services: Services, anna: User
) -> None:
    await services.codes.ask_for_reset(EMAIL)
    ports.mailer.trouble = asyncio.CancelledError()
    with suppress(asyncio.CancelledError):
        await do_next(services)
    ports.mailer.trouble = None

    assert not await do_next(services)
    ports.clock.advance(LEASE)
    assert await do_next(services)

    assert len(ports.mailer.sent) == 1


async def test_concurrent_deliveries_send_each_message_once(
    ports: FakePorts, services: Services, anna: User
) -> None:
    for _ in range(3):
        await services.codes.ask_for_reset(EMAIL)

    await asyncio.gather(*(do_next(services) for _ in range(8)))

    assert len({token_of(mail) for mail in ports.mailer.sent}) == 3


async def test_a_slow_host_does_not_delay_messages_to_other_hosts(
    ports: FakePorts, services: Services
) -> None:
    slow = ports.mailer.slow["slow.example"] = asyncio.Event()
    for number in range(MAIL.at_once):
        for host in ("slow.example", f"host{number}.example"):
            email = f"user{number}@{host}"
            await services.accounts.register(UserDraftFactory.build(email=email), PASSWORD)
            await services.codes.ask_for_reset(email)
    delivery = asyncio.create_task(worker_of(services).run_forever())

    async def wait_for(number: int) -> None:
        async with asyncio.timeout(30):
            while len(ports.mailer.sent) < number:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    await wait_for(MAIL.at_once)
    assert not any("slow" in mail.to for mail in ports.mailer.sent)
    assert len(ports.mailer.sending) == MAIL.per_lane
    slow.set()
    await wait_for(2 * MAIL.at_once)

    delivery.cancel()
    with suppress(asyncio.CancelledError):
        await delivery


async def test_delivery_sends_at_once_and_continues_after_an_outage(
    ports: FakePorts, services: Services, anna: User
) -> None:
    delivery = asyncio.create_task(worker_of(services).run_forever())
    await asyncio.sleep(0.01)
    ports.storage.down = ["database"]
    for wake in ports.storage.wakes:
        wake()
    await asyncio.sleep(0.01)
    ports.storage.down = []

    await services.codes.ask_for_reset(EMAIL)
    async with asyncio.timeout(30):
        while not ports.mailer.sent:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    delivery.cancel()
    with suppress(asyncio.CancelledError):
        await delivery


@pytest.mark.parametrize(
    ("console", "path"),
    [(None, "/password-reset#"), ("/gate/console", "/gate/console/reset?token=")],
)
async def test_a_mail_links_to_the_console_or_to_the_pages_of_the_public_site(
    ports: FakePorts, anna: User, console: str | None, path: str
) -> None:
    site = replace(ports, public_url="https://example.org/", console=console)
    token = await reset_token(ports, build_services(site))

    (mail,) = ports.mailer.sent
    link = f"https://example.org{path}{token}"
    assert link in mail.text.splitlines()
    assert mail.link == link
