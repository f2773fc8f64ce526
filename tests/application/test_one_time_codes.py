"""One-time codes, from asking for them to using them up; and the mail in between."""

import asyncio
import re
from datetime import timedelta

import pytest

from application.ports.mail import Mail
from application.services import Services
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


async def test_a_queue_full_of_strangers_has_room_for_whoever_has_a_code(
    ports: FakePorts, services: Services, anna: User
) -> None:
    token = await reset_token(ports, services)
    ports.passwords.full_for_strangers = True

    await services.codes.reset(token, NEW, ip="203.0.113.1")

    assert ports.passwords.requesters[-1].network == "203.0.113.1"


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
