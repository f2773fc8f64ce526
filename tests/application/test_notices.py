"""Notices: who is told of which change, once."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from application.logins import ClientInfo
from application.notices import send_notice, write_notice
from application.ports.mail import Mail, MailNotSent
from application.ports.webhooks import Webhooks
from application.reactions import REACTIONS, without
from application.services import Services, build_services
from domain.events import Event
from domain.notices import NOTICE_LIFETIME, Notice
from domain.passwords import WrongPassword
from domain.sessions import InvalidCredentials, InvalidToken
from domain.users import ProfileChange, User
from domain.webhooks import EventName, NewWebhook
from tests.application.test_mail import TOKEN, reset_token, token_of
from tests.factories import UserDraftFactory
from tests.fakes.clock import NOON
from tests.fakes.ports import FakePorts
from tests.jobs import do_next
from tests.logins import log_in

EMAIL = "anna@example.com"
PASSWORD = "correct horse battery"
NEW = "staple battery horse"
HOME, AWAY = ClientInfo(ip="2001:db8:1:2::1"), ClientInfo(ip="198.51.100.7")
SAME_NETWORK = ClientInfo(ip="2001:db8:1:2:ffff::9")


@pytest.fixture
async def anna(services: Services) -> User:
    return await services.accounts.register(UserDraftFactory.build(email=EMAIL), PASSWORD)


async def delivered(ports: FakePorts, services: Services) -> list[Mail]:
    """The mails that are sent now."""
    before = len(ports.mailer.sent)
    while await do_next(services):
        pass
    return ports.mailer.sent[before:]


Change = Callable[[FakePorts, Services, User], Awaitable[None]]


async def change_password(_: FakePorts, services: Services, anna: User) -> None:
    for current in ("wrong one", PASSWORD, "wrong one"):
        with suppress(WrongPassword):
            await services.accounts.change_password(anna, current=current, new=NEW, keep=None)


async def reset_password(ports: FakePorts, services: Services, _: User) -> None:
    token = await reset_token(ports, services)
    await services.codes.reset(token, NEW)


async def reset_by_the_operator(_: FakePorts, services: Services, __: User) -> None:
    await services.administration.make_admin(EMAIL, unverified=True, password=NEW)


async def reuse_of_a_refresh_token(ports: FakePorts, services: Services, _: User) -> None:
    login = await log_in(services.auth, EMAIL, PASSWORD, HOME)
    await services.auth.refresh(login.refresh_token)
    ports.clock.advance(timedelta(hours=1))
    for _attempt in range(3):
        with pytest.raises(InvalidToken):
            await services.auth.refresh(login.refresh_token)


async def login_from_a_new_network(_: FakePorts, services: Services, __: User) -> None:
    for client in (HOME, SAME_NETWORK, AWAY, AWAY, HOME):
        await log_in(services.auth, EMAIL, PASSWORD, client)
    with pytest.raises(InvalidCredentials):
        await log_in(services.auth, EMAIL, "wrong one", ClientInfo(ip="203.0.113.1"))


async def login_after_the_sessions_were_purged(
    ports: FakePorts, services: Services, _: User
) -> None:
    await log_in(services.auth, EMAIL, PASSWORD, HOME)
    ports.storage.committed.sessions.clear()
    await log_in(services.auth, EMAIL, PASSWORD, HOME)


CHANGES: dict[Change, Notice] = {
    change_password: Notice.PASSWORD_CHANGED,
    reset_password: Notice.PASSWORD_RESET,
    reset_by_the_operator: Notice.PASSWORD_RESET,
    reuse_of_a_refresh_token: Notice.REFRESH_TOKEN_REUSED,
    login_from_a_new_network: Notice.NEW_NETWORK,
    login_after_the_sessions_were_purged: Notice.NEW_NETWORK,
}


def subject_of(notice: Notice) -> str:
    return write_notice(notice, EMAIL, at=NOON, ip=None, link=None).subject


@pytest.mark.parametrize(
    ("change", "notice"), CHANGES.items(), ids=[change.__name__ for change in CHANGES]
)
async def test_a_change_has_one_notice(
    ports: FakePorts, services: Services, anna: User, change: Change, notice: Notice
) -> None:
    ports.storage.conflicts = 1  # a use case that runs again still sends one

    await change(ports, services, anna)

    notices = [mail for mail in await delivered(ports, services) if not tokens_in(mail)]
    assert [(mail.to, mail.subject) for mail in notices] == [(EMAIL, subject_of(notice))]


def tokens_in(mail: Mail) -> list[str]:
    return [line for line in mail.text.splitlines() if TOKEN.fullmatch(line)]


async def test_no_notice_is_sent_of_a_first_login_a_new_name_or_a_new_post(
    ports: FakePorts, services: Services, anna: User
) -> None:
    await log_in(services.auth, EMAIL, PASSWORD, AWAY)
    await services.accounts.edit(anna, ProfileChange(name="Hanna", renames=True))

    assert await delivered(ports, services) == []


async def test_a_change_of_address_is_told_to_the_old_one_once_by_each_of_its_steps(
    ports: FakePorts, services: Services, anna: User
) -> None:
    await services.accounts.edit(anna, ProfileChange(email="new@example.com"), PASSWORD)
    to_old, to_new = await delivered(ports, services)
    await services.codes.verify(token_of(to_new))
    confirmed = await delivered(ports, services)
    await services.codes.undo_email_change(token_of(to_old))
    undone = await delivered(ports, services)

    assert (to_old.to, to_new.to) == (EMAIL, "new@example.com")
    assert [(mail.to, bool(tokens_in(mail))) for mail in confirmed] == [(EMAIL, True)]
    assert [(mail.to, mail.subject) for mail in undone] == [
        ("new@example.com", subject_of(Notice.ADDRESS_RESTORED))
    ]


async def test_an_undo_before_the_confirmation_has_no_notice(
    ports: FakePorts, services: Services, anna: User
) -> None:
    await services.accounts.edit(anna, ProfileChange(email="new@example.com"), PASSWORD)
    to_old, _ = await delivered(ports, services)

    await services.codes.undo_email_change(token_of(to_old))

    assert await delivered(ports, services) == []


async def test_a_notice_goes_to_the_address_of_its_change(
    ports: FakePorts, services: Services, anna: User
) -> None:
    await services.accounts.change_password(anna, current=PASSWORD, new=NEW, keep=None)
    ports.storage.change_user(anna.id, email="moved@example.com")

    assert [mail.to for mail in await delivered(ports, services)] == [EMAIL]


async def test_without_notices_other_mails_are_sent(ports: FakePorts, anna: User) -> None:
    services = build_services(replace(ports, notices=False))
    ports.storage.reactions = without(send_notice)

    await services.codes.reset(await reset_token(ports, services), NEW)

    assert ports.storage.committed.jobs == {}
    assert len(ports.mailer.sent) == 1


async def test_a_notice_that_waits_while_notices_are_switched_off_is_not_sent(
    ports: FakePorts, services: Services, anna: User
) -> None:
    await services.accounts.change_password(anna, current=PASSWORD, new=NEW, keep=None)
    ports.storage.reactions = without(send_notice)

    assert await delivered(ports, build_services(replace(ports, notices=False))) == []
    assert ports.storage.committed.jobs == {}


async def test_the_audit_of_a_change_and_its_webhooks_do_not_have_the_address(
    ports: FakePorts, services: Services, anna: User
) -> None:
    webhook = NewWebhook(url="https://example.org", events=(EventName.ANY,), created_at=NOON)
    async with ports.storage() as uow:
        await uow.of(Webhooks).add(webhook)
        await uow.commit()

    await services.accounts.change_password(anna, current=PASSWORD, new=NEW, keep=None)

    notice, of_webhooks = ports.storage.committed.jobs.values()
    assert (notice.kind, of_webhooks.kind) == ("send_notice", "send_to_webhooks")
    assert EMAIL in str(notice.payload)
    assert EMAIL not in str(of_webhooks.payload)
    assert EMAIL not in str(ports.storage.committed.events)


def test_the_events_of_notices_and_no_others_have_the_reaction_that_sends_them() -> None:
    assert {name for name, each in REACTIONS.items() if send_notice in each} == set(Notice)


@pytest.mark.parametrize(("age", "sent"), [(-timedelta(seconds=1), 1), (timedelta(0), 0)])
async def test_a_notice_that_is_three_days_old_is_not_sent(
    ports: FakePorts, services: Services, anna: User, age: timedelta, sent: int
) -> None:
    await services.accounts.change_password(anna, current=PASSWORD, new=NEW, keep=None)
    ports.mailer.trouble = MailNotSent("no answer")
    for _job in ("send_notice", "mail"):
        await do_next(services)
    ports.mailer.trouble = None

    ports.clock.advance(NOTICE_LIFETIME + age)

    assert len(await delivered(ports, services)) == sent
    states = [job.state for job in ports.storage.committed.jobs.values()]
    assert states == ["failed"] * (1 - sent)


@pytest.mark.parametrize("notice", Notice)
async def test_a_notice_says_what_happened_when_and_what_to_do(
    ports: FakePorts, services: Services, anna: User, notice: Notice
) -> None:
    async with ports.storage() as uow:
        uow.record(Event.of(notice, f"user:{anna.id}", actor_id=None, at=NOON), concerned=anna)
        await uow.commit()

    (mail,) = await delivered(ports, services)

    assert "on 2026-11-23 at 12:00 UTC" in mail.text
    assert "If " in mail.text
    assert tokens_in(mail) == []
    assert all(len(part) > 20 for part in mail.text.strip().split("\n\n"))


def test_a_notice_has_the_address_of_the_client_and_of_the_site() -> None:
    site = "https://example.org"
    mail = write_notice(Notice.NEW_NETWORK, EMAIL, at=NOON, ip="192.0.2.1", link=site)

    assert "192.0.2.1" in mail.text
    assert site in mail.text.splitlines()


def test_every_notice_has_a_subject_of_its_own() -> None:
    assert len({subject_of(notice) for notice in Notice}) == len(Notice)
