import asyncio
from dataclasses import asdict, replace

import pytest

from application.services import Services, build_services
from domain.addresses import BadEmail
from domain.errors import Unavailable
from domain.passwords import PasswordPolicy, WeakPassword, WrongPassword
from domain.users import (
    EmailTaken,
    ProfileChange,
    Role,
    User,
    UserDraft,
    UserId,
    UserNotFound,
)
from tests.factories import UserDraftFactory
from tests.fakes.ports import FakePorts

PASSWORD = "correct horse battery"
NEW = "staple battery horse"


async def stored(ports: FakePorts, email: str) -> User:
    known = await ports.queries.credentials(email)
    assert known is not None
    return known.user


async def test_a_registration_stores_a_member(ports: FakePorts, services: Services) -> None:
    user = await services.accounts.register(
        UserDraft(email="anna@example.com", name=" Anna "), PASSWORD
    )

    assert (user.email, user.name, user.role) == ("anna@example.com", "Anna", Role.MEMBER)
    assert user.created_at == ports.clock.now
    assert asdict(await services.accounts.user(user.id)) == asdict(user)
    assert asdict(await stored(ports, "anna@example.com")) == asdict(user)


async def test_only_the_hash_of_a_password_is_stored(ports: FakePorts, services: Services) -> None:
    await services.accounts.register(UserDraftFactory.build(email="a@example.com"), PASSWORD)

    known = await ports.queries.credentials("a@example.com")
    assert known is not None
    assert PASSWORD not in known.password
    assert await ports.passwords.verify(PASSWORD, known.password)


async def test_an_address_registers_once_regardless_of_case(services: Services) -> None:
    await services.accounts.register(UserDraftFactory.build(email="anna@example.com"), PASSWORD)

    with pytest.raises(EmailTaken):
        await services.accounts.register(UserDraftFactory.build(email="ANNA@example.com"), PASSWORD)


async def test_one_of_two_concurrent_registrations_succeeds(services: Services) -> None:
    draft = UserDraftFactory.build()

    answers = await asyncio.gather(
        *(services.accounts.register(draft, PASSWORD) for _ in range(2)), return_exceptions=True
    )

    assert sorted(type(answer).__name__ for answer in answers) == ["EmailTaken", "User"]


@pytest.mark.parametrize(
    ("email", "password", "error"),
    [
        ("no address", PASSWORD, BadEmail),
        ("anna@example.com", "too short", WeakPassword),
        ("anna@example.com", "anna@example.com", WeakPassword),
    ],
)
async def test_a_broken_rule_is_refused_before_hashing(
    ports: FakePorts, services: Services, email: str, password: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await services.accounts.register(UserDraftFactory.build(email=email), password)

    assert ports.passwords.work == 0
    assert ports.storage.committed.accounts == {}


async def test_the_shortest_password_is_a_setting(ports: FakePorts) -> None:
    long_ones = replace(ports, password_policy=PasswordPolicy(minimum=22))
    accounts = build_services(long_ones).accounts

    with pytest.raises(WeakPassword, match="22 to 128"):
        await accounts.register(UserDraftFactory.build(), PASSWORD)
    await accounts.register(UserDraftFactory.build(), PASSWORD + "!")


async def test_nothing_is_stored_when_hashing_is_refused(
    ports: FakePorts, services: Services
) -> None:
    ports.passwords.busy = True

    with pytest.raises(Unavailable):
        await services.accounts.register(UserDraftFactory.build(), PASSWORD)

    assert ports.storage.committed.accounts == {}


async def test_a_registration_can_have_the_role_admin(services: Services) -> None:
    admin = await services.accounts.register(UserDraftFactory.build(), PASSWORD, Role.ADMIN)

    assert (await services.accounts.user(admin.id)).role is Role.ADMIN


async def test_an_unknown_user_is_not_found(services: Services) -> None:
    with pytest.raises(UserNotFound, match="User with id: 7 was not found"):
        await services.accounts.user(UserId(7))


# One's own account


@pytest.fixture
async def anna(services: Services) -> User:
    return await services.accounts.register(UserDraft(email="anna@example.com"), PASSWORD)


async def test_a_change_of_password_needs_the_current_password(
    ports: FakePorts, services: Services, anna: User
) -> None:
    with pytest.raises(WrongPassword):
        await services.accounts.change_password(anna, current="wrong one", new=NEW, keep=None)
    await services.accounts.change_password(anna, current=PASSWORD, new=NEW, keep=None)

    known = ports.storage.committed.accounts[anna.id].password
    assert await ports.passwords.verify(NEW, known)
    assert ports.storage.committed.events[-1].event.name == "password_changed"


async def test_one_of_several_concurrent_password_changes_succeeds(
    services: Services, anna: User
) -> None:
    answers = await asyncio.gather(
        *(
            services.accounts.change_password(
                anna, current=PASSWORD, new=f"{NEW} {number}", keep=None
            )
            for number in range(5)
        ),
        return_exceptions=True,
    )

    assert (
        sorted(type(answer).__name__ for answer in answers) == ["NoneType"] + ["WrongPassword"] * 4
    )


async def test_a_password_is_not_confirmed_by_a_later_owner_of_the_address(
    ports: FakePorts, services: Services, anna: User
) -> None:
    """The request was authenticated, then the address went from one to the other."""
    ports.storage.change_user(anna.id, email="moved@example.com")
    await services.accounts.register(UserDraft(email=anna.email), "the password of another")

    with pytest.raises(WrongPassword):
        await services.accounts.delete(anna, "the password of another")


async def test_an_edit_keeps_fields_that_it_does_not_name(services: Services, anna: User) -> None:
    named = await services.accounts.edit(anna, ProfileChange(name="Anna", renames=True))
    moved = await services.accounts.edit(anna, ProfileChange(email="b@example.com"), PASSWORD)

    assert (named.name, named.email, named.pending_email) == ("Anna", anna.email, None)
    assert (moved.name, moved.email, moved.pending_email) == ("Anna", anna.email, "b@example.com")


async def test_an_empty_edit_records_no_event(
    ports: FakePorts, services: Services, anna: User
) -> None:
    await services.accounts.edit(anna, ProfileChange())

    assert [entry.event.name for entry in ports.storage.committed.events] == ["user_registered"]


async def test_a_change_of_address_needs_the_password(
    ports: FakePorts, services: Services, anna: User
) -> None:
    for wrong in (None, "", "wrong one"):
        with pytest.raises(WrongPassword):
            await services.accounts.edit(anna, ProfileChange(email="b@example.com"), wrong)

    assert (await stored(ports, anna.email)).id == anna.id


async def test_the_last_admin_cannot_delete_their_account(
    ports: FakePorts, services: Services
) -> None:
    admins = [
        await services.accounts.register(UserDraftFactory.build(), PASSWORD, Role.ADMIN)
        for _ in range(2)
    ]

    answers = await asyncio.gather(
        *(services.accounts.delete(admin, PASSWORD) for admin in admins), return_exceptions=True
    )

    assert sorted(type(answer).__name__ for answer in answers) == ["LastAdmin", "NoneType"]
    assert len(ports.storage.committed.accounts) == 1
