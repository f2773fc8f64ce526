"""Password checks: failed logins and their limits."""

import asyncio

import pytest

from application.logins import ClientInfo
from application.ports.limits import Limit, TooManyRequests, account_hit
from application.services import Services
from domain.errors import Unavailable
from domain.sessions import InvalidCredentials
from domain.users import User
from tests.factories import UserDraftFactory
from tests.fakes.ports import FakePorts
from tests.logins import log_in

EMAIL = "anna@example.com"
PASSWORD = "correct horse battery"
HOME = ClientInfo(ip="192.0.2.1")
ELSEWHERE = ClientInfo(ip="198.51.100.1")


@pytest.fixture
async def anna(services: Services) -> User:
    return await services.accounts.register(UserDraftFactory.build(email=EMAIL), PASSWORD)


async def fails(services: Services, client: ClientInfo, email: str = EMAIL) -> bool:
    """Whether a login fails as it may: by the password."""
    try:
        await log_in(services.auth, email, "wrong", client)
    except TooManyRequests:
        return False
    except InvalidCredentials:
        return True
    pytest.fail("that was the wrong password")


@pytest.mark.parametrize("email", [EMAIL, "nobody@example.com"])
async def test_failures_at_an_account_from_a_network_are_limited_for_known_and_unknown_alike(
    ports: FakePorts, services: Services, anna: User, email: str
) -> None:
    ports.limits.quotas = {Limit.LOGIN_FAILURES: 3}

    assert [await fails(services, HOME, email) for _ in range(5)] == [True] * 3 + [False] * 2
    assert await fails(services, HOME, "bob@example.com")
    assert await fails(services, ELSEWHERE, email)
    assert not await fails(services, HOME, email.title())


async def test_a_refused_login_costs_no_work_even_with_the_right_password(
    ports: FakePorts, services: Services, anna: User
) -> None:
    ports.limits.quotas = {Limit.LOGIN_FAILURES: 1}
    await fails(services, HOME)
    work = ports.passwords.work

    with pytest.raises(TooManyRequests):
        await log_in(services.auth, EMAIL, PASSWORD, HOME)

    assert ports.passwords.work == work
    assert ports.storage.committed.sessions == {}


@pytest.mark.parametrize("email", [EMAIL, "nobody@example.com"])
async def test_failures_at_an_account_from_strange_networks_are_limited_together(
    ports: FakePorts, services: Services, anna: User, email: str
) -> None:
    ports.limits.quotas = {Limit.ACCOUNT_FAILURES: 3}
    strangers = [ClientInfo(ip=f"203.0.113.{number}") for number in range(5)]

    assert [await fails(services, s, email) for s in strangers] == [True] * 3 + [False] * 2


async def test_strangers_cannot_lock_the_owner_out_of_a_known_network(
    ports: FakePorts, services: Services, anna: User
) -> None:
    ports.limits.quotas = {Limit.ACCOUNT_FAILURES: 3}
    await log_in(services.auth, EMAIL, PASSWORD, HOME)
    while await fails(services, ELSEWHERE):
        pass

    assert await fails(services, HOME)
    assert (await log_in(services.auth, EMAIL, PASSWORD, HOME)).user.id == anna.id
    with pytest.raises(TooManyRequests):
        await log_in(services.auth, EMAIL, PASSWORD, ELSEWHERE)


async def test_failures_from_a_known_network_do_not_count_against_strange_ones(
    ports: FakePorts, services: Services, anna: User
) -> None:
    ports.limits.quotas = {Limit.ACCOUNT_FAILURES: 1}
    await log_in(services.auth, EMAIL, PASSWORD, HOME)

    for _ in range(3):
        assert await fails(services, HOME)

    await log_in(services.auth, EMAIL, PASSWORD, ELSEWHERE)


async def test_a_network_is_known_only_to_its_account(
    ports: FakePorts, services: Services, anna: User
) -> None:
    ports.limits.quotas = {Limit.ACCOUNT_FAILURES: 1}
    bob = UserDraftFactory.build(email="bob@example.com")
    await services.accounts.register(bob, PASSWORD)
    await log_in(services.auth, bob.email, PASSWORD, HOME)

    assert [await fails(services, HOME) for _ in range(2)] == [True, False]


async def test_successful_logins_do_not_count_as_failures(
    ports: FakePorts, services: Services, anna: User
) -> None:
    ports.limits.quotas = {Limit.LOGIN_FAILURES: 1, Limit.ACCOUNT_FAILURES: 1}

    for _ in range(3):
        await log_in(services.auth, EMAIL, PASSWORD, HOME)

    assert +ports.limits.used == {}


async def test_the_right_password_of_a_deactivated_user_counts_as_a_failure(
    ports: FakePorts, services: Services, anna: User
) -> None:
    ports.limits.quotas = {Limit.LOGIN_FAILURES: 1}
    ports.storage.change_user(anna.id, is_active=False)

    with pytest.raises(InvalidCredentials):
        await log_in(services.auth, EMAIL, PASSWORD, HOME)
    with pytest.raises(TooManyRequests):
        await log_in(services.auth, EMAIL, PASSWORD, HOME)


async def test_a_password_that_could_not_be_checked_is_no_failure(
    ports: FakePorts, services: Services, anna: User
) -> None:
    ports.passwords.busy = True

    with pytest.raises(Unavailable):
        await log_in(services.auth, EMAIL, PASSWORD, HOME)

    assert +ports.limits.used == {}


async def test_a_queue_full_of_strangers_has_room_for_a_login_from_a_known_network(
    ports: FakePorts, services: Services, anna: User
) -> None:
    await log_in(services.auth, EMAIL, PASSWORD, HOME)
    ports.passwords.full_for_strangers = True

    with pytest.raises(Unavailable):
        await log_in(services.auth, EMAIL, PASSWORD, ELSEWHERE)
    with pytest.raises(Unavailable):
        await log_in(services.auth, "nobody@example.com", PASSWORD, HOME)
    assert (await log_in(services.auth, EMAIL, PASSWORD, HOME)).user.id == anna.id


async def test_a_queue_full_of_strangers_has_room_for_a_user_who_is_logged_in(
    ports: FakePorts, services: Services, anna: User
) -> None:
    ports.passwords.full_for_strangers = True

    await services.accounts.change_password(
        anna, current=PASSWORD, new="staple battery horse", keep=None, ip=ELSEWHERE.ip
    )
    await services.accounts.delete(anna, "staple battery horse", ip=ELSEWHERE.ip)

    assert {each.network for each in ports.passwords.requesters[-3:]} == {ELSEWHERE.ip}


async def test_an_outdated_hash_is_replaced_though_the_queue_is_full_of_strangers(
    ports: FakePorts, services: Services, anna: User
) -> None:
    await log_in(services.auth, EMAIL, PASSWORD, HOME)
    known = await ports.queries.credentials(EMAIL)
    assert known is not None
    ports.passwords.outdated.add(known.password)
    ports.passwords.full_for_strangers = True

    await log_in(services.auth, EMAIL, PASSWORD, HOME)

    replaced = await ports.queries.credentials(EMAIL)
    assert replaced is not None
    assert replaced.password != known.password


async def test_registrations_take_no_reserved_place(ports: FakePorts, services: Services) -> None:
    ports.passwords.full_for_strangers = True

    with pytest.raises(Unavailable):
        await services.accounts.register(UserDraftFactory.build(email=EMAIL), PASSWORD, ip=HOME.ip)


async def test_concurrent_guesses_gain_nothing_over_sequential_ones(
    ports: FakePorts, services: Services, anna: User
) -> None:
    ports.limits.quotas = {Limit.LOGIN_FAILURES: 3}
    work = ports.passwords.work

    answers = await asyncio.gather(*(fails(services, HOME) for _ in range(20)))

    assert answers.count(True) == 3
    assert ports.passwords.work == work + 3


async def test_a_text_that_is_too_long_is_a_wrong_password_at_the_same_cost(
    ports: FakePorts, services: Services, anna: User
) -> None:
    ports.limits.quotas = {Limit.LOGIN_FAILURES: 1}
    work = ports.passwords.work

    with pytest.raises(InvalidCredentials):
        await log_in(services.auth, EMAIL, "\u0301\u0316" * 10**6, HOME)

    assert ports.passwords.work == work + 1
    assert not await fails(services, HOME)


def test_every_spelling_of_an_address_counts_for_one_account() -> None:
    one = account_hit(Limit.ACCOUNT_RESETS, "ANNA@example.com")

    assert one == account_hit(Limit.ACCOUNT_RESETS, EMAIL)
    assert one != account_hit(Limit.ACCOUNT_RESETS, "bob@example.com")
