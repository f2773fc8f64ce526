"""Registration that tells nobody who is registered."""

from dataclasses import replace
from datetime import timedelta

import pytest

from application.logins import ClientInfo
from application.ports.limits import Limit, TooManyRequests
from application.ports.mail import Mail, MailNotSent
from application.registrations import RegistrationService
from application.services import Services, build_services
from domain.one_time_codes import InvalidCode
from domain.passwords import WeakPassword
from domain.registrations import REGISTRATION_LIFETIME, RegistrationClosed, RegistrationMode
from domain.sessions import InvalidCredentials
from domain.users import BadName, EmailTaken, ProfileChange, Role, User, UserDraft
from tests import logins
from tests.application.test_mail import TOKEN, token_of
from tests.factories import UserDraftFactory
from tests.fakes.limits import FakeLimits
from tests.fakes.ports import FakePorts, fake_ports
from tests.jobs import do_next

EMAIL, NEW_EMAIL = "anna@example.com", "new@example.com"
PASSWORD = "correct horse battery"
OTHERS = "the password of a stranger"


@pytest.fixture
def ports() -> FakePorts:
    return replace(fake_ports(), registration=RegistrationMode.QUIET)


@pytest.fixture
async def anna(services: Services) -> User:
    return await services.accounts.register(UserDraftFactory.build(email=EMAIL), PASSWORD)


@pytest.fixture
def registrations(services: Services) -> RegistrationService:
    return services.of(RegistrationService)


async def delivered(ports: FakePorts, services: Services) -> list[Mail]:
    before = len(ports.mailer.sent)
    while await do_next(services):
        pass
    return ports.mailer.sent[before:]


async def asked(
    ports: FakePorts, services: Services, email: str = NEW_EMAIL, password: str = PASSWORD
) -> str:
    """The token that is mailed for a new registration."""
    await services.of(RegistrationService).ask(UserDraft(email=email, name="New"), password)
    (mail,) = await delivered(ports, services)
    assert mail.to == email
    assert "register" in mail.text
    return token_of(mail)


async def test_a_mailed_token_completes_a_registration_once(
    ports: FakePorts, services: Services, registrations: RegistrationService
) -> None:
    token = await asked(ports, services)
    with pytest.raises(InvalidCredentials):
        await services.auth.login(NEW_EMAIL, PASSWORD, ClientInfo())

    await registrations.complete(token)

    user = (await logins.log_in(services.auth, NEW_EMAIL, PASSWORD, ClientInfo())).user
    assert (user.email, user.name, user.role) == (NEW_EMAIL, "New", Role.MEMBER)
    assert user.is_verified
    assert user.created_at == ports.clock.now
    with pytest.raises(InvalidCode):
        await registrations.complete(token)
    names = [entry.event.name for entry in ports.storage.committed.events]
    assert names == ["login_failed", "user_registered", "address_verified", "logged_in"]


async def test_the_owner_of_a_taken_address_is_told_and_nothing_changes(
    ports: FakePorts, services: Services, registrations: RegistrationService, anna: User
) -> None:
    await registrations.ask(UserDraft(email="ANNA@example.com"), OTHERS)

    (mail,) = await delivered(ports, services)

    assert (mail.to, mail.subject) == (EMAIL, "You have an account already")
    assert not [line for line in mail.text.splitlines() if TOKEN.fullmatch(line)]
    await services.auth.login(EMAIL, PASSWORD, ClientInfo())


async def test_free_and_taken_addresses_cost_the_same_work(
    ports: FakePorts, registrations: RegistrationService, anna: User
) -> None:
    def stored() -> list[int]:
        state = ports.storage.committed
        return [len(rows) for rows in (state.jobs, state.events, state.accounts)]

    costs = []
    for email in (EMAIL, NEW_EMAIL):
        work, before = ports.passwords.work, stored()
        await registrations.ask(UserDraft(email=email), PASSWORD)
        added = [after - old for after, old in zip(stored(), before, strict=True)]
        costs.append((ports.passwords.work - work, added))

    assert costs[0] == costs[1] == (costs[0][0], [2, 0, 0])


@pytest.mark.parametrize("email", [EMAIL, NEW_EMAIL])
@pytest.mark.parametrize(
    ("name", "password", "error"), [("", PASSWORD, BadName), ("Anna", "short", WeakPassword)]
)
async def test_a_broken_rule_is_refused_for_free_and_taken_addresses(
    registrations: RegistrationService,
    anna: User,
    email: str,
    name: str,
    password: str,
    error: type[Exception],
) -> None:
    with pytest.raises(error):
        await registrations.ask(UserDraft(email=email, name=name), password)


async def test_who_reads_the_mail_decides_which_of_two_registrations_is_completed(
    ports: FakePorts, services: Services, registrations: RegistrationService
) -> None:
    strangers = await asked(ports, services, password=OTHERS)
    own = await asked(ports, services)

    await registrations.complete(own)

    with pytest.raises(EmailTaken):
        await registrations.complete(strangers)
    await services.auth.login(NEW_EMAIL, PASSWORD, ClientInfo())


async def test_an_address_that_can_be_restored_is_not_registered(
    ports: FakePorts, services: Services, registrations: RegistrationService, anna: User
) -> None:
    token = await asked(ports, services, "moved@example.com")
    await registrations.complete(token)
    moved = await services.accounts.user((await stored_user(ports, "moved@example.com")).id)
    await services.accounts.edit(moved, ProfileChange(email=NEW_EMAIL), PASSWORD)
    _, confirmation = await delivered(ports, services)
    await services.codes.verify(token_of(confirmation))
    await delivered(ports, services)

    await registrations.ask(UserDraft(email="moved@example.com"), OTHERS)

    (mail,) = await delivered(ports, services)
    assert (mail.to, mail.subject) == ("moved@example.com", "You have an account already")


async def stored_user(ports: FakePorts, email: str) -> User:
    found = await ports.queries.credentials(email)
    assert found is not None
    return found.user


async def test_a_registration_is_completed_within_a_day_and_then_deleted(
    ports: FakePorts, services: Services, registrations: RegistrationService
) -> None:
    first, second = await asked(ports, services), await asked(ports, services)
    ports.clock.advance(REGISTRATION_LIFETIME)

    with pytest.raises(InvalidCode):
        await registrations.complete(first)
    ports.clock.advance(-timedelta(microseconds=1))
    await registrations.complete(second)
    ports.clock.advance(timedelta(seconds=1))
    assert await delivered(ports, services) == []
    assert ports.storage.committed.jobs == {}
    with pytest.raises(InvalidCode):
        await registrations.complete(first)


async def test_a_mail_that_was_not_sent_is_tried_again(
    ports: FakePorts, services: Services, registrations: RegistrationService
) -> None:
    ports.mailer.trouble = MailNotSent("no answer")
    await registrations.ask(UserDraft(email=NEW_EMAIL), PASSWORD)
    assert await do_next(services)
    ports.mailer.trouble = None
    ports.clock.advance(timedelta(seconds=3))

    (mail,) = await delivered(ports, services)

    await registrations.complete(token_of(mail))


async def test_an_address_gets_no_more_mails_than_its_limit_allows(ports: FakePorts) -> None:
    limits = FakeLimits({Limit.ACCOUNT_RESETS: 1})
    services = build_services(replace(ports, limits=limits))
    registrations = services.of(RegistrationService)
    await registrations.ask(UserDraft(email=NEW_EMAIL), PASSWORD)

    with pytest.raises(TooManyRequests):
        await registrations.ask(UserDraft(email="NEW@example.com"), PASSWORD)
    await registrations.ask(UserDraft(email=EMAIL), PASSWORD)


async def test_a_change_to_a_taken_address_has_the_answer_of_one_to_a_free_address(
    ports: FakePorts, services: Services, anna: User
) -> None:
    await services.accounts.register(UserDraft(email="bert@example.com"), OTHERS)

    for wanted, told in (("bert@example.com", 1), (NEW_EMAIL, 0)):
        user = await services.accounts.user(anna.id)
        edited = await services.accounts.edit(user, ProfileChange(email=wanted), PASSWORD)
        assert edited.pending_email == wanted
        to_old, to_new = await delivered(ports, services)
        assert (to_old.to, to_new.to) == (EMAIL, wanted)
        assert (to_new.subject == "You have an account already") == told
        assert token_of(to_old)
    await services.codes.verify(token_of(to_new))


async def test_nobody_registers_when_registration_is_closed(anna: User, ports: FakePorts) -> None:
    services = build_services(replace(ports, registration=RegistrationMode.CLOSED))

    with pytest.raises(RegistrationClosed):
        await services.of(RegistrationService).ask(UserDraft(email=NEW_EMAIL), PASSWORD)
    edited = await services.accounts.edit(anna, ProfileChange(email=NEW_EMAIL), PASSWORD)
    assert edited.pending_email == NEW_EMAIL
