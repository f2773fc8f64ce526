from datetime import timedelta

import pytest

from application.challenges import FactorKind, settle
from application.factors import CodeFactor, FactorService
from application.logins import ClientInfo, Login
from application.notices import write_notice
from application.ports.factors import FactorRepository
from application.proofs import ProofService
from application.services import Services
from domain.factors import NoSecondFactor, StaleLogin, Totp, TotpExists, WrongCode
from domain.notices import Notice
from domain.policies import AdminsOnly
from domain.sessions import Session
from domain.users import Role, User, UserId, UserNotFound
from tests.application.authenticator import EMAIL, PASSWORD, enrol
from tests.factories import UserDraftFactory
from tests.fakes.clock import NOON
from tests.fakes.ports import FakePorts
from tests.jobs import do_next
from tests.logins import log_in


@pytest.fixture
async def anna(services: Services) -> Login:
    await services.accounts.register(UserDraftFactory.build(email=EMAIL), PASSWORD)
    return await log_in(services.auth, EMAIL, PASSWORD, ClientInfo())


async def now_stored(services: Services, user: User) -> User:
    return await services.accounts.user(user.id)


async def test_a_confirmed_app_gives_the_account_a_second_factor(
    ports: FakePorts, services: Services, anna: Login
) -> None:
    app = await enrol(ports, services, anna.user, anna.session)

    stored = await now_stored(services, anna.user)
    assert stored.second_factor_since == ports.clock.now
    status = await services.of(FactorService).status(stored)
    assert (status.totp_confirmed_at, status.recovery_codes_left) == (ports.clock.now, 10)
    (totp,) = ports.storage.committed.rows(Totp).values()
    assert app.secret not in totp.sealed_secret
    names = [entry.event.name for entry in ports.storage.committed.events]
    assert names[-1] == "totp_added"


async def test_an_app_that_is_not_confirmed_may_be_replaced(
    ports: FakePorts, services: Services, anna: Login
) -> None:
    factors = services.of(FactorService)
    first = await factors.start_totp(anna.user, anna.session)
    await factors.start_totp(anna.user, anna.session)

    with pytest.raises(WrongCode):
        await factors.confirm_totp(anna.user, ports.totp.code(first.secret, ports.clock()))
    assert not (await now_stored(services, anna.user)).second_factor


async def test_an_app_in_force_is_not_replaced(
    ports: FakePorts, services: Services, anna: Login
) -> None:
    app = await enrol(ports, services, anna.user, anna.session)
    factors = services.of(FactorService)

    with pytest.raises(TotpExists):
        await factors.start_totp(anna.user, anna.session)
    with pytest.raises(TotpExists):
        await factors.confirm_totp(anna.user, app.code())


async def test_nothing_is_confirmed_after_the_secret_key_was_lost(
    ports: FakePorts, services: Services, anna: Login
) -> None:
    factors = services.of(FactorService)
    enrolment = await factors.start_totp(anna.user, anna.session)
    ports.sealer.sealed.clear()

    with pytest.raises(WrongCode):
        await factors.confirm_totp(anna.user, ports.totp.code(enrolment.secret, ports.clock()))


async def test_what_needs_a_fresh_session_is_refused_in_the_use_case_too(
    ports: FakePorts, services: Services, anna: Login
) -> None:
    factors = services.of(FactorService)
    ports.clock.advance(timedelta(seconds=601))
    user, session = anna.user, anna.session

    for call in (
        factors.start_totp(user, session),
        factors.remove_totp(user, session),
        factors.new_recovery_codes(user, session),
        factors.remove_all(user, session, user.id),
    ):
        with pytest.raises(StaleLogin):
            await call


async def test_recovery_codes_need_a_second_factor(services: Services, anna: Login) -> None:
    with pytest.raises(NoSecondFactor):
        await services.of(FactorService).new_recovery_codes(anna.user, anna.session)


async def test_the_first_enrolment_counts_for_freshness(
    ports: FakePorts, services: Services, anna: Login
) -> None:
    """A passkey was there before: a session that it proved stays fresh."""
    since = ports.clock.now
    ports.storage.change_user(anna.user.id, second_factor_since=since)

    await enrol(ports, services, anna.user, anna.session)

    assert (await now_stored(services, anna.user)).second_factor_since == since


async def test_an_app_that_a_password_alone_started_is_void_once_there_is_a_passkey(
    ports: FakePorts, services: Services, anna: Login
) -> None:
    factors = services.of(FactorService)
    enrolment = await factors.start_totp(anna.user, anna.session)
    ports.clock.advance(timedelta(seconds=1))
    ports.storage.change_user(anna.user.id, second_factor_since=ports.clock.now)

    with pytest.raises(WrongCode):
        await factors.confirm_totp(anna.user, ports.totp.code(enrolment.secret, ports.clock()))
    status = await factors.status(anna.user)
    assert status.totp_confirmed_at is None


async def test_the_account_keeps_its_factor_while_one_is_left(
    ports: FakePorts, services: Services, anna: Login
) -> None:
    await enrol(ports, services, anna.user, anna.session)
    stored = await now_stored(services, anna.user)

    async with ports.storage() as uow:
        await settle(uow, stored, [CodeFactor(ports)])
        await uow.commit()
    assert (await now_stored(services, anna.user)).second_factor

    async with ports.storage() as uow:
        await uow.of(FactorRepository).remove_totp(anna.user.id)
        await settle(uow, stored, [CodeFactor(ports)])
        await uow.commit()
    assert not (await now_stored(services, anna.user)).second_factor
    status = await services.of(FactorService).status(stored)
    assert status.recovery_codes_left == 0


async def an_admin(services: Services) -> tuple[User, Session]:
    draft = UserDraftFactory.build()
    await services.accounts.register(draft, PASSWORD, Role.ADMIN)
    login = await log_in(services.auth, draft.email, PASSWORD, ClientInfo())
    return login.user, login.session


async def test_only_admins_remove_the_factors_of_others(
    ports: FakePorts, services: Services, anna: Login
) -> None:
    admin, session = await an_admin(services)
    factors = services.of(FactorService)

    with pytest.raises(AdminsOnly):
        await factors.remove_all(anna.user, anna.session, admin.id)
    with pytest.raises(UserNotFound):
        await factors.remove_all(admin, session, UserId(10**6))
    ports.storage.change_user(admin.id, role=Role.MEMBER)  # by another admin, meanwhile
    with pytest.raises(AdminsOnly):
        await factors.remove_all(admin, session, anna.user.id)


async def test_an_admin_removes_factors_sessions_and_recovery_codes(
    ports: FakePorts, services: Services, anna: Login
) -> None:
    await enrol(ports, services, anna.user, anna.session)
    admin, session = await an_admin(services)

    await services.of(FactorService).remove_all(admin, session, anna.user.id)

    stored = await now_stored(services, anna.user)
    assert not stored.second_factor
    status = await services.of(FactorService).status(stored)
    assert (status.totp_confirmed_at, status.recovery_codes_left) == (None, 0)
    assert await services.auth.sessions(stored) == []
    assert isinstance(await services.auth.login(EMAIL, PASSWORD, ClientInfo()), Login)


async def test_each_change_of_a_factor_is_told_once_by_mail(
    ports: FakePorts, services: Services, anna: Login
) -> None:
    app = await enrol(ports, services, anna.user, anna.session)
    user = await now_stored(services, anna.user)
    await services.of(ProofService).prove_factor(
        user, anna.session, FactorKind.CODE, app.code(), ip=None
    )
    factors = services.of(FactorService)
    await factors.new_recovery_codes(user, anna.session)
    await factors.remove_totp(user, anna.session)
    await factors.remove_totp(user, anna.session)  # there is none any more
    admin, session = await an_admin(services)
    await factors.remove_all(admin, session, user.id)

    while await do_next(services):
        pass

    told = [
        Notice.TOTP_ADDED,
        Notice.RECOVERY_CODES_MADE,
        Notice.TOTP_REMOVED,
        Notice.FACTORS_REMOVED,
    ]
    assert [(mail.to, mail.subject) for mail in ports.mailer.sent] == [
        (EMAIL, write_notice(notice, EMAIL, at=NOON, ip=None, link=None).subject) for notice in told
    ]
