"""One-time codes, from asking for them to using them up; and the mail in between."""

import asyncio
import re
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from application.mail import ATTEMPTS_MAX, CLAIM, pause_after
from application.ports.mail import Mail, MailNotSent, MailRefused
from application.services import Services, build_services
from domain.errors import Unavailable
from domain.one_time_codes import LIFETIMES, InvalidCode, Purpose
from domain.passwords import WeakPassword
from domain.users import ProfileChange, User
from tests.factories import UserDraftFactory
from tests.fakes.ports import FakePorts

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
    assert await services.mail.deliver_next()
    return token_of(ports.mailer.sent[-1])


async def verification_token(ports: FakePorts, services: Services, user: User) -> str:
    await services.codes.ask_for_verification(user)
    assert await services.mail.deliver_next()
    return token_of(ports.mailer.sent[-1])


async def password_is(ports: FakePorts, password: str) -> bool:
    known = await ports.queries.credentials(EMAIL)
    return await ports.passwords.verify(password, known.password if known else None)


# What a code does


async def test_a_code_verifies_the_address_once(
    ports: FakePorts, services: Services, anna: User
) -> None:
    token = await verification_token(ports, services, anna)

    await services.codes.verify(token)

    assert (await services.accounts.user(anna.id)).is_verified
    with pytest.raises(InvalidCode):
        await services.codes.verify(token)


async def test_a_code_gives_a_new_password_once(
    ports: FakePorts, services: Services, anna: User
) -> None:
    token = await reset_token(ports, services)

    await services.codes.reset(token, NEW)

    assert await password_is(ports, NEW)
    with pytest.raises(InvalidCode):
        await services.codes.reset(token, "yet another password")
    assert await password_is(ports, NEW)


async def test_of_many_uses_at_once_one_succeeds(
    ports: FakePorts, services: Services, anna: User
) -> None:
    token = await reset_token(ports, services)

    answers = await asyncio.gather(
        *(services.codes.reset(token, f"{NEW} {number}") for number in range(5)),
        return_exceptions=True,
    )

    assert [type(answer) for answer in answers].count(InvalidCode) == 4


async def test_a_code_is_of_no_use_for_another_purpose(
    ports: FakePorts, services: Services, anna: User
) -> None:
    verification = await verification_token(ports, services, anna)
    reset = await reset_token(ports, services)

    with pytest.raises(InvalidCode):
        await services.codes.reset(verification, NEW)
    with pytest.raises(InvalidCode):
        await services.codes.verify(reset)

    await services.codes.verify(verification)
    await services.codes.reset(reset, NEW)


@pytest.mark.parametrize("purpose", Purpose)
async def test_a_code_is_good_until_it_expires(
    ports: FakePorts, services: Services, anna: User, purpose: Purpose
) -> None:
    if purpose is Purpose.VERIFICATION:
        tokens = [await verification_token(ports, services, anna) for _ in range(2)]
    else:
        tokens = [await reset_token(ports, services) for _ in range(2)]

    async def use(token: str) -> None:
        if purpose is Purpose.VERIFICATION:
            await services.codes.verify(token)
        else:
            await services.codes.reset(token, NEW)

    ports.clock.advance(LIFETIMES[purpose])
    with pytest.raises(InvalidCode):
        await use(tokens[0])
    ports.clock.advance(-timedelta(microseconds=1))
    await use(tokens[1])


@pytest.mark.parametrize("token", ["", "x", "é", "\0", "a" * 200])
async def test_a_token_that_nobody_was_sent_is_refused(
    services: Services, anna: User, token: str
) -> None:
    with pytest.raises(InvalidCode):
        await services.codes.verify(token)
    with pytest.raises(InvalidCode):
        await services.codes.reset(token, NEW)


async def test_a_refused_password_does_not_use_the_token_up(
    ports: FakePorts, services: Services, anna: User
) -> None:
    token = await reset_token(ports, services)

    for weak in ("short", EMAIL, "x" * 129):
        with pytest.raises(WeakPassword):
            await services.codes.reset(token, weak)
    ports.passwords.busy = True
    with pytest.raises(Unavailable):
        await services.codes.reset(token, NEW)
    ports.passwords.busy = False

    await services.codes.reset(token, NEW)


async def test_a_bad_token_is_told_before_a_weak_password(services: Services) -> None:
    with pytest.raises(InvalidCode):
        await services.codes.reset("x", "short")


async def test_all_codes_die_with_the_password(
    ports: FakePorts, services: Services, anna: User
) -> None:
    tokens = [await reset_token(ports, services) for _ in range(2)]
    verification = await verification_token(ports, services, anna)

    await services.accounts.change_password(anna, current=PASSWORD, new=NEW, keep=None)

    for token in tokens:
        with pytest.raises(InvalidCode):
            await services.codes.reset(token, "yet another password")
    with pytest.raises(InvalidCode):
        await services.codes.verify(verification)
    assert await password_is(ports, NEW)


async def test_a_reset_ends_the_other_codes_too(
    ports: FakePorts, services: Services, anna: User
) -> None:
    first, second = [await reset_token(ports, services) for _ in range(2)]

    await services.codes.reset(second, NEW)

    with pytest.raises(InvalidCode):
        await services.codes.reset(first, "yet another password")


async def test_all_codes_die_with_the_address(
    ports: FakePorts, services: Services, anna: User
) -> None:
    reset = await reset_token(ports, services)
    verification = await verification_token(ports, services, anna)

    moved = await services.accounts.edit(anna, ProfileChange(email="new@example.com"), PASSWORD)

    with pytest.raises(InvalidCode):
        await services.codes.reset(reset, NEW)
    with pytest.raises(InvalidCode):
        await services.codes.verify(verification)
    assert not moved.is_verified


async def test_a_new_name_leaves_codes_alone(
    ports: FakePorts, services: Services, anna: User
) -> None:
    token = await reset_token(ports, services)

    await services.accounts.edit(anna, ProfileChange(name="Hanna", renames=True))

    await services.codes.reset(token, NEW)


async def test_a_code_is_stored_as_a_hash_alone(
    ports: FakePorts, services: Services, anna: User
) -> None:
    token = await reset_token(ports, services)

    assert token not in str(ports.storage.committed)
    assert len(token) >= 43  # 256 bits


# What is mailed, and to whom


async def test_who_has_no_account_gets_no_mail_and_cannot_be_told_by_the_work(
    ports: FakePorts, services: Services, anna: User
) -> None:
    for email in ("nobody@example.com", EMAIL):
        work = ports.passwords.work
        await services.codes.ask_for_reset(email)
        assert ports.passwords.work == work

    assert len(ports.storage.committed.outbox) == 2
    while await services.mail.deliver_next():
        pass
    assert [mail.to for mail in ports.mailer.sent] == [EMAIL]
    assert ports.storage.committed.outbox == {}


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

    assert await services.mail.deliver_next()

    assert ports.mailer.sent == []
    assert ports.storage.committed.codes == {}


async def test_whoever_is_verified_is_not_mailed_about_it(
    ports: FakePorts, services: Services, anna: User
) -> None:
    await services.codes.ask_for_verification(anna)
    ports.storage.change_user(anna.id, is_verified=True)
    verified = await services.accounts.user(anna.id)

    await services.codes.ask_for_verification(verified)

    assert len(ports.storage.committed.outbox) == 1
    await services.mail.deliver_next()
    assert ports.mailer.sent == []


async def test_a_letter_to_an_address_that_was_left_is_not_sent(
    ports: FakePorts, services: Services, anna: User
) -> None:
    await services.codes.ask_for_verification(anna)
    await services.accounts.edit(anna, ProfileChange(email="new@example.com"), PASSWORD)

    await services.mail.deliver_next()

    assert ports.mailer.sent == []


async def test_a_mail_has_its_token_in_text_and_html_and_says_until_when(
    ports: FakePorts, services: Services, anna: User
) -> None:
    token = await reset_token(ports, services)

    (mail,) = ports.mailer.sent
    assert token in mail.html
    assert "2026-11-23 13:00 UTC" in mail.text
    assert "2026-11-23 13:00 UTC" in mail.html
    assert token not in repr(mail)
    assert "http" not in mail.text


# Delivery


async def test_a_letter_that_was_not_sent_is_tried_again_later_and_later(
    ports: FakePorts, services: Services, anna: User
) -> None:
    await services.codes.ask_for_reset(EMAIL)
    ports.mailer.trouble = MailNotSent("no answer")

    for seconds in (2, 4, 8):
        assert await services.mail.deliver_next()
        ports.clock.advance(seconds * SECOND - timedelta(microseconds=1))
        assert not await services.mail.deliver_next()
        ports.clock.advance(timedelta(microseconds=1))
    ports.mailer.trouble = None

    assert await services.mail.deliver_next()
    assert not await services.mail.deliver_next()
    await services.codes.reset(token_of(ports.mailer.sent[0]), NEW)


def test_the_pauses_grow_to_an_hour_and_attempts_end_after_a_day_or_two() -> None:
    pauses = [pause_after(attempts) for attempts in range(1, ATTEMPTS_MAX)]

    assert pauses == sorted(pauses)
    assert pauses[-1] == timedelta(hours=1)
    assert timedelta(days=1) < sum(pauses, timedelta()) < timedelta(days=2)


async def test_there_is_a_last_attempt(ports: FakePorts, services: Services, anna: User) -> None:
    await services.codes.ask_for_reset(EMAIL)
    ports.mailer.trouble = MailNotSent("no answer")

    attempts = 0
    while ports.storage.committed.outbox:
        assert await services.mail.deliver_next()
        attempts += 1
        ports.clock.advance(timedelta(hours=1))

    assert attempts == ATTEMPTS_MAX


async def test_a_refused_letter_is_not_tried_again(
    ports: FakePorts, services: Services, anna: User
) -> None:
    await services.codes.ask_for_reset(EMAIL)
    ports.mailer.trouble = MailRefused("no such address")

    assert await services.mail.deliver_next()

    assert ports.storage.committed.outbox == {}


async def test_a_letter_with_trouble_of_its_own_holds_up_no_other(
    ports: FakePorts, services: Services, anna: User
) -> None:
    await services.codes.ask_for_reset(EMAIL)
    ports.mailer.trouble = ZeroDivisionError()
    assert await services.mail.deliver_next()
    ports.mailer.trouble = None

    await services.codes.ask_for_verification(anna)
    assert await services.mail.deliver_next()

    assert len(ports.mailer.sent) == 1
    assert len(ports.storage.committed.outbox) == 1


async def test_a_letter_whose_sender_died_is_sent_by_another(
    ports: FakePorts, services: Services, anna: User
) -> None:
    await services.codes.ask_for_reset(EMAIL)
    ports.mailer.trouble = asyncio.CancelledError()
    with suppress(asyncio.CancelledError):
        await services.mail.deliver_next()
    ports.mailer.trouble = None

    assert not await services.mail.deliver_next()
    ports.clock.advance(CLAIM)
    assert await services.mail.deliver_next()

    assert len(ports.mailer.sent) == 1


async def test_several_who_deliver_at_once_send_each_letter_once(
    ports: FakePorts, services: Services, anna: User
) -> None:
    for _ in range(3):
        await services.codes.ask_for_reset(EMAIL)

    await asyncio.gather(*(services.mail.deliver_next() for _ in range(8)))

    assert len({token_of(mail) for mail in ports.mailer.sent}) == 3


async def test_a_letter_is_sent_as_soon_as_it_is_posted_and_after_a_breakdown(
    ports: FakePorts, services: Services, anna: User
) -> None:
    delivery = asyncio.create_task(services.mail.deliver_forever())
    await asyncio.sleep(0.01)
    ports.storage.down = ["database"]
    services.mail.wake()
    await asyncio.sleep(0.01)
    ports.storage.down = []

    await services.codes.ask_for_reset(EMAIL)
    async with asyncio.timeout(1):
        while not ports.mailer.sent:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    delivery.cancel()
    with suppress(asyncio.CancelledError):
        await delivery


async def test_a_mail_links_to_the_public_site_if_there_is_one(
    ports: FakePorts, anna: User
) -> None:
    services = build_services(replace(ports, public_url="https://example.org/"))
    token = await reset_token(ports, services)

    (mail,) = ports.mailer.sent
    link = f"https://example.org/password-reset#{token}"
    assert link in mail.text.splitlines()
    assert f'href="{link}"' in mail.html
