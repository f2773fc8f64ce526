from dataclasses import asdict
from datetime import timedelta

import pytest

from application.logins import ClientInfo
from application.ports.queries import EventList
from application.services import Services
from domain.passwords import WeakPassword
from domain.policies import AdminsOnly
from domain.sessions import InvalidCredentials, InvalidToken
from domain.users import Deactivated, EmailTaken, LastAdmin, Role, UnverifiedAddress, User
from tests.factories import UserDraftFactory
from tests.fakes.ports import FakePorts
from tests.jobs import do_next
from tests.logins import log_in

PASSWORD = "correct horse battery"
NEW = "staple battery horse"


@pytest.fixture
async def admin(services: Services) -> User:
    return await services.accounts.register(UserDraftFactory.build(), PASSWORD, Role.ADMIN)


@pytest.fixture
async def anna(services: Services) -> User:
    return await services.accounts.register(UserDraftFactory.build(), PASSWORD)


async def test_a_verified_user_becomes_an_admin_and_keeps_the_password(
    ports: FakePorts, services: Services
) -> None:
    anna = await services.accounts.register(
        UserDraftFactory.build(email="anna@example.com"), PASSWORD
    )
    ports.storage.change_user(anna.id, is_verified=True)
    before = ports.storage.committed.accounts[anna.id].password

    promoted = await services.administration.make_admin("Anna@Example.com")

    assert promoted is not None
    assert asdict(promoted) == asdict(anna) | {"role": Role.ADMIN, "is_verified": True}
    assert (await services.accounts.user(anna.id)).role is Role.ADMIN
    assert ports.storage.committed.accounts[anna.id].password == before


async def test_a_user_with_an_unverified_address_is_not_promoted(
    ports: FakePorts, services: Services, anna: User
) -> None:
    for password in (None, NEW):
        with pytest.raises(UnverifiedAddress):
            await services.administration.make_admin(anna.email, password=password)
    assert (await services.accounts.user(anna.id)).role is Role.MEMBER

    await services.administration.make_admin(anna.email, unverified=True)
    assert (await services.accounts.user(anna.id)).role is Role.ADMIN


async def test_a_deactivated_user_is_not_promoted(
    ports: FakePorts, services: Services, anna: User
) -> None:
    ports.storage.change_user(anna.id, is_active=False, is_verified=True)

    with pytest.raises(Deactivated):
        await services.administration.make_admin(anna.email, unverified=True, password=NEW)


async def test_a_new_password_for_an_admin_revokes_sessions_and_deletes_codes(
    ports: FakePorts, services: Services, anna: User
) -> None:
    login = await log_in(services.auth, anna.email, PASSWORD, ClientInfo())
    await services.codes.ask_for_reset(anna.email)
    assert await do_next(services)

    await services.administration.make_admin(anna.email, unverified=True, password=NEW)

    with pytest.raises(InvalidToken):
        await services.auth.authenticate(login.access_token)
    assert ports.storage.committed.codes == {}
    with pytest.raises(InvalidCredentials):
        await log_in(services.auth, anna.email, PASSWORD, ClientInfo())
    await log_in(services.auth, anna.email, NEW, ClientInfo())
    names = [entry.event.name for entry in ports.storage.committed.events]
    assert names[-4:] == ["user_promoted", "password_reset", "login_failed", "logged_in"]


async def test_a_promotion_with_a_weak_password_is_refused(
    ports: FakePorts, services: Services, anna: User
) -> None:
    with pytest.raises(WeakPassword):
        await services.administration.make_admin(anna.email, unverified=True, password="short")
    assert (await services.accounts.user(anna.id)).role is Role.MEMBER


async def test_promoting_an_admin_again_succeeds(
    ports: FakePorts, services: Services, admin: User
) -> None:
    assert await services.administration.make_admin(admin.email) is not None
    names = [entry.event.name for entry in ports.storage.committed.events]
    assert names == ["user_registered"]


async def test_promoting_an_unknown_address_returns_none(
    ports: FakePorts, services: Services
) -> None:
    assert await services.administration.make_admin("nobody@example.com") is None
    assert ports.storage.committed.accounts == {}


async def test_the_audit_records_registrations_and_promotions(
    ports: FakePorts, services: Services
) -> None:
    anna = await services.accounts.register(UserDraftFactory.build(), PASSWORD)
    with pytest.raises(EmailTaken):
        await services.accounts.register(UserDraftFactory.build(email=anna.email), PASSWORD)
    ports.clock.advance(timedelta(hours=1))
    await services.administration.make_admin(anna.email, unverified=True)
    await services.administration.make_admin("nobody@example.com")

    told = [entry.event for entry in ports.storage.committed.events]
    assert [(event.name, event.at) for event in told] == [
        ("user_registered", anna.created_at),
        ("user_promoted", ports.clock.now),
    ]
    assert {(event.actor_id, event.subject) for event in told} == {(None, f"user:{anna.id}")}


async def change(
    services: Services,
    admin: User,
    user: User,
    *,
    role: Role | None = None,
    is_active: bool | None = None,
) -> User:
    return await services.administration.change(admin, user.id, role=role, is_active=is_active)


@pytest.mark.parametrize("role", [Role.MEMBER, Role.MODERATOR])
async def test_only_admins_administer(services: Services, anna: User, role: Role) -> None:
    anna.role = role

    with pytest.raises(AdminsOnly):
        await services.administration.users(anna, 10, None)
    with pytest.raises(AdminsOnly):
        await services.administration.audit(anna, EventList(limit=10))
    with pytest.raises(AdminsOnly):
        await change(services, anna, anna, role=Role.ADMIN)


async def test_an_admin_who_was_demoted_concurrently_is_refused(
    ports: FakePorts, services: Services, admin: User, anna: User
) -> None:
    """The request was authenticated before."""
    ports.storage.change_user(admin.id, role=Role.MEMBER)
    ports.storage.change_user(anna.id, role=Role.ADMIN)

    with pytest.raises(AdminsOnly):
        await change(services, admin, anna, role=Role.MEMBER)


async def test_only_real_changes_record_events(
    ports: FakePorts, services: Services, admin: User, anna: User
) -> None:
    before = len(ports.storage.committed.events)

    await change(services, admin, anna)
    await change(services, admin, anna, role=Role.MEMBER, is_active=True)
    assert len(ports.storage.committed.events) == before
    await change(services, admin, anna, role=Role.MODERATOR, is_active=False)
    await change(services, admin, anna, is_active=True)

    events = [entry.event for entry in ports.storage.committed.events[before:]]
    assert [event.name for event in events] == [
        "role_changed",
        "user_deactivated",
        "user_reactivated",
    ]
    assert {(event.actor_id, event.subject) for event in events} == {(admin.id, f"user:{anna.id}")}


async def test_a_deactivation_revokes_all_tokens(
    ports: FakePorts, services: Services, admin: User, anna: User
) -> None:
    ports.clock.advance(timedelta(hours=1))

    await change(services, admin, anna, is_active=False)
    await change(services, admin, anna, is_active=True)

    assert (await services.accounts.user(anna.id)).tokens_valid_from == ports.clock.now


async def test_the_last_admin_cannot_be_demoted(
    services: Services, admin: User, anna: User
) -> None:
    for changes in ({"role": Role.MODERATOR}, {"is_active": False}):
        with pytest.raises(LastAdmin):
            await services.administration.change(
                admin,
                admin.id,
                **({"role": None, "is_active": None} | changes),
            )
    await change(services, admin, anna, role=Role.ADMIN)
    await change(services, admin, admin, role=Role.MEMBER)
