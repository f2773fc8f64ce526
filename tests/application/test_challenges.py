from dataclasses import replace

import pytest

from application.challenges import Challenge, factors_of
from application.factors import CodeFactor
from application.logins import ClientInfo, Login
from application.services import Services, build_services
from domain.challenges import WrongSecondStep
from domain.factors import FactorPolicy
from domain.sessions import InvalidCredentials
from tests.application.authenticator import EMAIL, PASSWORD, challenge_of, enrol, second_step
from tests.factories import UserDraftFactory
from tests.fakes.ports import FakePorts
from tests.logins import log_in

NEW = "staple battery horse"


@pytest.fixture
async def anna(services: Services) -> Login:
    await services.accounts.register(UserDraftFactory.build(email=EMAIL), PASSWORD)
    return await log_in(services.auth, EMAIL, PASSWORD, ClientInfo())


async def test_a_right_password_gets_a_challenge_with_the_ways_to_go_on(
    ports: FakePorts, services: Services, anna: Login
) -> None:
    app = await enrol(ports, services, anna.user, anna.session)

    challenge = await challenge_of(services, anna.user)

    assert challenge.methods == ["totp", "recovery_code"]
    assert challenge.token not in repr(challenge)
    for code in app.recovery_codes:
        await second_step(services, await challenge_of(services, anna.user), code)
    assert (await challenge_of(services, anna.user)).methods == ["totp"]


async def test_a_wrong_password_gets_no_challenge(
    ports: FakePorts, services: Services, anna: Login
) -> None:
    await enrol(ports, services, anna.user, anna.session)

    with pytest.raises(InvalidCredentials):
        await services.auth.login(EMAIL, "wrong horse", ClientInfo())


async def test_a_challenge_ends_with_a_password_that_the_operator_sets(
    ports: FakePorts, services: Services, anna: Login
) -> None:
    app = await enrol(ports, services, anna.user, anna.session)
    challenge = await challenge_of(services, anna.user)

    await services.administration.make_admin(EMAIL, unverified=True, password=NEW)

    with pytest.raises(WrongSecondStep):
        await second_step(services, challenge, app.code())
    again = await challenge_of(services, anna.user, NEW)
    assert (await second_step(services, again, app.code())).user.id == anna.user.id


async def test_an_outdated_hash_is_replaced_at_the_first_step(
    ports: FakePorts, services: Services, anna: Login
) -> None:
    app = await enrol(ports, services, anna.user, anna.session)
    before = ports.storage.committed.accounts[anna.user.id].password
    ports.passwords.outdated.add(before)

    challenge = await challenge_of(services, anna.user)

    assert ports.storage.committed.accounts[anna.user.id].password != before
    assert (await second_step(services, challenge, app.code())).user.id == anna.user.id


async def test_a_password_is_enough_where_strong_login_is_off(
    ports: FakePorts, services: Services, anna: Login
) -> None:
    await enrol(ports, services, anna.user, anna.session)
    off = build_services(replace(ports, factor_policy=FactorPolicy(fresh_for=None)))

    assert isinstance(await off.auth.login(EMAIL, PASSWORD, ClientInfo()), Login)
    assert isinstance(await services.auth.login(EMAIL, PASSWORD, ClientInfo()), Challenge)


def test_the_factors_of_all_concepts_are_found(ports: FakePorts) -> None:
    assert CodeFactor in [type(factor) for factor in factors_of(ports)]
