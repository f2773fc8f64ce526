from datetime import timedelta

import pytest

from application.challenges import Challenge, FactorKind
from application.logins import ClientInfo, Login
from application.ports.limits import Limit, TooManyRequests
from application.proofs import ProofService
from application.services import Services
from domain.challenges import WrongSecondStep
from domain.factors import WrongCode
from domain.passwords import WrongPassword
from domain.sessions import InvalidToken, Method
from tests.application.authenticator import EMAIL, PASSWORD, challenge_of, enrol, second_step
from tests.factories import UserDraftFactory
from tests.fakes.ports import FakePorts
from tests.logins import log_in


@pytest.fixture
async def anna(services: Services) -> Login:
    await services.accounts.register(UserDraftFactory.build(email=EMAIL), PASSWORD)
    return await log_in(services.auth, EMAIL, PASSWORD, ClientInfo())


async def test_a_session_knows_both_steps_of_its_login(
    ports: FakePorts, services: Services, anna: Login
) -> None:
    app = await enrol(ports, services, anna.user, anna.session)

    login = await second_step(services, await challenge_of(services, anna.user), app.code())

    assert login.session.methods == (Method.PASSWORD, Method.ONE_TIME_PASSWORD)
    assert login.session.factor_proved_at == ports.clock.now
    names = [entry.event.name for entry in ports.storage.committed.events]
    assert names[-1] == "logged_in"


async def test_every_wrong_second_step_is_one_error_and_uses_nothing_up(
    ports: FakePorts, services: Services, anna: Login
) -> None:
    app = await enrol(ports, services, anna.user, anna.session)
    challenge = await challenge_of(services, anna.user)
    code = app.code()

    for wrong, text in (
        (challenge, "000000"),
        (challenge, "aaaa-bbbb-cccc-dddd"),
        (Challenge(token="unknown", methods=[]), code),
    ):
        with pytest.raises(WrongSecondStep):
            await second_step(services, wrong, text)
    with pytest.raises(WrongSecondStep):
        await services.of(ProofService).second_step(
            challenge.token, FactorKind.CREDENTIAL, None, ClientInfo()
        )

    assert (await second_step(services, challenge, code)).user.id == anna.user.id


async def test_a_wrong_second_step_counts_as_a_failed_login_and_a_right_one_does_not(
    ports: FakePorts, services: Services, anna: Login
) -> None:
    app = await enrol(ports, services, anna.user, anna.session)
    challenge = await challenge_of(services, anna.user)
    before = counted(ports)

    with pytest.raises(WrongSecondStep):
        await second_step(services, challenge, "000000")
    assert counted(ports) == before + 1
    await second_step(services, challenge, app.code())

    assert counted(ports) == before + 1
    events = [entry.event.name for entry in ports.storage.committed.events]
    assert "login_failed" in events


def counted(ports: FakePorts) -> int:
    return sum(n for hit, n in ports.limits.used.items() if hit.limit is Limit.LOGIN_FAILURES)


async def test_a_proof_makes_the_session_of_the_request_fresh(
    ports: FakePorts, services: Services, anna: Login
) -> None:
    app = await enrol(ports, services, anna.user, anna.session)
    other = await second_step(services, await challenge_of(services, anna.user), app.code())
    proofs = services.of(ProofService)
    ports.clock.advance(timedelta(hours=1))

    await proofs.prove_factor(anna.user, anna.session, FactorKind.CODE, app.code(), ip=None)

    stored = {it.id: it for it in await services.auth.sessions(anna.user)}
    assert stored[anna.session.id].methods == (Method.PASSWORD, Method.ONE_TIME_PASSWORD)
    assert stored[anna.session.id].factor_proved_at == ports.clock.now
    assert stored[other.session.id].proved_at < ports.clock.now


async def test_wrong_proofs_count_as_failed_logins(
    ports: FakePorts, services: Services, anna: Login
) -> None:
    proofs, before = services.of(ProofService), counted(ports)

    with pytest.raises(WrongPassword):
        await proofs.prove_password(anna.user, anna.session, "wrong", ip=None)
    with pytest.raises(WrongCode):
        await proofs.prove_factor(anna.user, anna.session, FactorKind.CODE, "000000", ip=None)

    assert counted(ports) == before + 2
    (session,) = await services.auth.sessions(anna.user)
    assert session.proved_at == session.created_at


async def test_no_proof_revives_a_revoked_session(services: Services, anna: Login) -> None:
    await services.auth.logout(anna.session)

    with pytest.raises(InvalidToken):
        await services.of(ProofService).prove_password(anna.user, anna.session, PASSWORD, ip=None)


async def test_an_exhausted_limit_is_told_before_the_code_is_looked_at(
    ports: FakePorts, services: Services, anna: Login
) -> None:
    app = await enrol(ports, services, anna.user, anna.session)
    challenge = await challenge_of(services, anna.user)
    code = app.code()
    ports.limits.quotas[Limit.LOGIN_FAILURES] = 0
    with pytest.raises(TooManyRequests):
        await second_step(services, challenge, code)
    ports.limits.quotas.clear()

    assert (await second_step(services, challenge, code)).user.id == anna.user.id
