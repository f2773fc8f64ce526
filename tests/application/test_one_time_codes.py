"""One-time codes, from the request over the mail to their use."""

import asyncio
import re
from datetime import timedelta

import pytest

from application.logins import ClientInfo
from application.ports.mail import Mail
from application.services import Services
from domain.errors import Unavailable
from domain.one_time_codes import LIFETIMES, InvalidCode, Purpose
from domain.passwords import WeakPassword
from domain.sessions import InvalidToken
from domain.users import EmailTaken, ProfileChange, User
from tests.factories import UserDraftFactory
from tests.fakes.ports import FakePorts
from tests.jobs import do_next
from tests.logins import log_in

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


async def tokens_of_move(
    ports: FakePorts, services: Services, user: User, email: str
) -> tuple[str, str]:
    """The tokens that undo and that confirm a change of address that is asked for now."""
    while await do_next(services):
        pass
    before = len(ports.mailer.sent)
    user = await services.accounts.user(user.id)
    await services.accounts.edit(user, ProfileChange(email=email), PASSWORD)
    while await do_next(services):
        pass
    to_old, to_new = ports.mailer.sent[before:]
    assert (to_old.to, to_new.to) == (user.email, email)
    return token_of(to_old), token_of(to_new)


async def password_is(ports: FakePorts, password: str) -> bool:
    known = await ports.queries.credentials(EMAIL)
    return await ports.passwords.verify(password, known.password if known else None)


# A change of address


async def test_a_new_address_replaces_the_old_one_when_its_code_comes_back(
    ports: FakePorts, services: Services, anna: User
) -> None:
    _, confirmation = await tokens_of_move(ports, services, anna, "new@example.com")
    asked = await services.accounts.user(anna.id)
    assert (asked.email, asked.pending_email) == (EMAIL, "new@example.com")

    await services.codes.verify(confirmation)

    moved = await services.accounts.user(anna.id)
    assert (moved.email, moved.pending_email, moved.is_verified) == ("new@example.com", None, True)
    assert await do_next(services)
    assert ports.mailer.sent[-1].to == EMAIL
    names = [entry.event.name for entry in ports.storage.committed.events]
    assert [name for name in names if name.startswith("address")] == [
        *("address_change_requested", "address_changed", "address_verified"),
    ]


async def test_a_pending_address_gets_no_reset(
    ports: FakePorts, services: Services, anna: User
) -> None:
    await tokens_of_move(ports, services, anna, "new@example.com")
    before = len(ports.mailer.sent)

    for email in ("new@example.com", EMAIL):
        await services.codes.ask_for_reset(email)
        assert await do_next(services)

    assert [mail.to for mail in ports.mailer.sent[before:]] == [EMAIL]


async def test_the_code_for_a_pending_address_is_mailed_again_on_request(
    ports: FakePorts, services: Services, anna: User
) -> None:
    ports.storage.change_user(anna.id, is_verified=True)
    await tokens_of_move(ports, services, anna, "new@example.com")

    token = await verification_token(ports, services, await services.accounts.user(anna.id))

    assert ports.mailer.sent[-1].to == "new@example.com"
    await services.codes.verify(token)
    assert (await services.accounts.user(anna.id)).email == "new@example.com"


async def test_a_pending_address_that_was_replaced_or_cancelled_confirms_nothing(
    ports: FakePorts, services: Services, anna: User
) -> None:
    _, first = await tokens_of_move(ports, services, anna, "typo@example.com")
    _, second = await tokens_of_move(ports, services, anna, "new@example.com")

    with pytest.raises(InvalidCode):
        await services.codes.verify(first)
    await services.accounts.edit(anna, ProfileChange(email=EMAIL), PASSWORD)
    with pytest.raises(InvalidCode):
        await services.codes.verify(second)
    assert (await services.accounts.user(anna.id)).pending_email is None


async def test_a_pending_address_that_another_user_registered_is_not_confirmed(
    ports: FakePorts, services: Services, anna: User
) -> None:
    _, confirmation = await tokens_of_move(ports, services, anna, "new@example.com")
    await services.accounts.register(UserDraftFactory.build(email="new@example.com"), PASSWORD)

    with pytest.raises(EmailTaken):
        await services.codes.verify(confirmation)
    assert (await services.accounts.user(anna.id)).email == EMAIL


@pytest.mark.parametrize("confirmed", [True, False])
async def test_a_change_of_address_is_undone_by_the_old_one_for_72_hours(
    ports: FakePorts, services: Services, anna: User, confirmed: bool
) -> None:
    undo, confirmation = await tokens_of_move(ports, services, anna, "thief@example.com")
    if confirmed:
        await services.codes.verify(confirmation)
    login = await log_in(
        services.auth, "thief@example.com" if confirmed else EMAIL, PASSWORD, ClientInfo()
    )
    # What a thief does to keep the account does not help.
    user = await services.accounts.user(anna.id)
    await services.accounts.change_password(user, current=PASSWORD, new=NEW, keep=None)
    ports.clock.advance(timedelta(hours=72) - SECOND)

    await services.codes.undo_email_change(undo)

    user = await services.accounts.user(anna.id)
    assert (user.email, user.pending_email, user.is_verified) == (EMAIL, None, True)
    with pytest.raises(InvalidToken):
        await services.auth.authenticate(login.access_token)
    with pytest.raises(InvalidCode):
        await services.codes.undo_email_change(undo)
    with pytest.raises(InvalidCode):
        await services.codes.verify(confirmation)


async def test_an_undo_invalidates_the_undo_codes_of_later_changes(
    ports: FakePorts, services: Services, anna: User
) -> None:
    undo, confirmation = await tokens_of_move(ports, services, anna, "thief@example.com")
    await services.codes.verify(confirmation)
    ports.clock.advance(SECOND)
    later_undo, confirmation = await tokens_of_move(ports, services, anna, "next@example.com")
    await services.codes.verify(confirmation)

    await services.codes.undo_email_change(undo)

    with pytest.raises(InvalidCode):
        await services.codes.undo_email_change(later_undo)
    assert (await services.accounts.user(anna.id)).email == EMAIL


async def test_an_undo_keeps_the_undo_codes_of_earlier_changes(
    ports: FakePorts, services: Services, anna: User
) -> None:
    undo, confirmation = await tokens_of_move(ports, services, anna, "thief@example.com")
    await services.codes.verify(confirmation)
    ports.clock.advance(SECOND)
    later_undo, _ = await tokens_of_move(ports, services, anna, "next@example.com")

    await services.codes.undo_email_change(later_undo)
    await services.codes.undo_email_change(undo)

    assert (await services.accounts.user(anna.id)).email == EMAIL


async def test_an_address_that_can_be_restored_is_reserved(
    ports: FakePorts, services: Services, anna: User
) -> None:
    bert = await services.accounts.register(UserDraftFactory.build(), PASSWORD)
    undo, confirmation = await tokens_of_move(ports, services, anna, "thief@example.com")
    await services.codes.verify(confirmation)

    with pytest.raises(EmailTaken):
        await services.accounts.register(UserDraftFactory.build(email=EMAIL), PASSWORD)
    with pytest.raises(EmailTaken):
        await services.accounts.edit(bert, ProfileChange(email=EMAIL), PASSWORD)

    await services.codes.undo_email_change(undo)
    ports.clock.advance(timedelta(hours=73))
    _, confirmation = await tokens_of_move(ports, services, anna, "new@example.com")
    await services.codes.verify(confirmation)
    ports.clock.advance(timedelta(hours=73))
    await services.accounts.register(UserDraftFactory.build(email=EMAIL), PASSWORD)


# What a code does


async def test_a_code_verifies_the_address_once(
    ports: FakePorts, services: Services, anna: User
) -> None:
    token = await verification_token(ports, services, anna)

    await services.codes.verify(token)

    assert (await services.accounts.user(anna.id)).is_verified
    with pytest.raises(InvalidCode):
        await services.codes.verify(token)


async def test_a_code_resets_the_password_once(
    ports: FakePorts, services: Services, anna: User
) -> None:
    token = await reset_token(ports, services)

    await services.codes.reset(token, NEW)

    assert await password_is(ports, NEW)
    assert (await services.accounts.user(anna.id)).is_verified
    with pytest.raises(InvalidCode):
        await services.codes.reset(token, "yet another password")
    assert await password_is(ports, NEW)


async def test_a_queue_full_of_strangers_has_room_for_a_user_with_a_code(
    ports: FakePorts, services: Services, anna: User
) -> None:
    token = await reset_token(ports, services)
    ports.passwords.full_for_strangers = True

    await services.codes.reset(token, NEW, ip="203.0.113.1")

    assert ports.passwords.requesters[-1].network == "203.0.113.1"


async def test_one_of_many_concurrent_uses_of_a_code_succeeds(
    ports: FakePorts, services: Services, anna: User
) -> None:
    token = await reset_token(ports, services)

    answers = await asyncio.gather(
        *(services.codes.reset(token, f"{NEW} {number}") for number in range(5)),
        return_exceptions=True,
    )

    assert [type(answer) for answer in answers].count(InvalidCode) == 4


async def test_a_code_works_only_for_its_purpose(
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
async def test_a_code_works_until_it_expires(
    ports: FakePorts, services: Services, anna: User, purpose: Purpose
) -> None:
    if purpose is Purpose.VERIFICATION:
        tokens = [await verification_token(ports, services, anna) for _ in range(2)]
    elif purpose is Purpose.EMAIL_CHANGE_UNDO:
        moves = [await tokens_of_move(ports, services, anna, f"{n}@example.com") for n in "ab"]
        tokens = [undo for undo, _ in moves]
    else:
        tokens = [await reset_token(ports, services) for _ in range(2)]

    async def use(token: str) -> None:
        if purpose is Purpose.VERIFICATION:
            await services.codes.verify(token)
        elif purpose is Purpose.EMAIL_CHANGE_UNDO:
            await services.codes.undo_email_change(token)
        else:
            await services.codes.reset(token, NEW)

    ports.clock.advance(LIFETIMES[purpose])
    with pytest.raises(InvalidCode):
        await use(tokens[0])
    ports.clock.advance(-timedelta(microseconds=1))
    await use(tokens[1])


@pytest.mark.parametrize("token", ["", "x", "é", "\0", "a" * 200])
async def test_an_unknown_token_is_refused(services: Services, anna: User, token: str) -> None:
    with pytest.raises(InvalidCode):
        await services.codes.verify(token)
    with pytest.raises(InvalidCode):
        await services.codes.reset(token, NEW)


async def test_a_refused_password_does_not_consume_the_token(
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


async def test_a_bad_token_is_reported_before_a_weak_password(services: Services) -> None:
    with pytest.raises(InvalidCode):
        await services.codes.reset("x", "short")


async def test_a_change_of_password_deletes_all_codes(
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


async def test_a_reset_deletes_the_other_codes(
    ports: FakePorts, services: Services, anna: User
) -> None:
    first, second = [await reset_token(ports, services) for _ in range(2)]

    await services.codes.reset(second, NEW)

    with pytest.raises(InvalidCode):
        await services.codes.reset(first, "yet another password")


async def test_a_change_of_address_deletes_all_codes(
    ports: FakePorts, services: Services, anna: User
) -> None:
    reset = await reset_token(ports, services)
    verification = await verification_token(ports, services, anna)
    _, confirmation = await tokens_of_move(ports, services, anna, "new@example.com")

    await services.codes.verify(confirmation)

    with pytest.raises(InvalidCode):
        await services.codes.reset(reset, NEW)
    with pytest.raises(InvalidCode):
        await services.codes.verify(verification)


async def test_a_new_name_keeps_the_codes(ports: FakePorts, services: Services, anna: User) -> None:
    token = await reset_token(ports, services)

    await services.accounts.edit(anna, ProfileChange(name="Hanna", renames=True))

    await services.codes.reset(token, NEW)


async def test_only_the_hash_of_a_code_is_stored(
    ports: FakePorts, services: Services, anna: User
) -> None:
    token = await reset_token(ports, services)

    assert token not in str(ports.storage.committed)
    assert len(token) >= 43  # 256 bits
