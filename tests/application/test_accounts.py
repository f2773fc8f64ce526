import asyncio
from dataclasses import asdict, replace
from datetime import timedelta

import pytest

from application.services import Services, build_services
from domain.errors import Unavailable
from domain.passwords import PasswordPolicy, WeakPassword
from domain.users import BadEmail, EmailTaken, Role, User, UserDraft, UserId, UserNotFound
from tests.factories import UserDraftFactory
from tests.fakes.ports import FakePorts

PASSWORD = "correct horse battery"


async def stored(ports: FakePorts, email: str) -> User:
    known = await ports.queries.credentials(email)
    assert known is not None
    return known.user


async def test_who_registers_is_a_member_and_known_from_then_on(
    ports: FakePorts, services: Services
) -> None:
    user = await services.accounts.register(
        UserDraft(email="anna@example.com", name=" Anna "), PASSWORD
    )

    assert (user.email, user.name, user.role) == ("anna@example.com", "Anna", Role.MEMBER)
    assert user.created_at == ports.clock.now
    assert asdict(await services.accounts.user(user.id)) == asdict(user)
    assert asdict(await stored(ports, "anna@example.com")) == asdict(user)


async def test_a_password_is_stored_as_a_hash_alone(ports: FakePorts, services: Services) -> None:
    await services.accounts.register(UserDraftFactory.build(email="a@example.com"), PASSWORD)

    known = await ports.queries.credentials("a@example.com")
    assert known is not None
    assert PASSWORD not in known.password
    assert await ports.passwords.verify(PASSWORD, known.password)


async def test_an_address_registers_once_in_whatever_case(services: Services) -> None:
    await services.accounts.register(UserDraftFactory.build(email="anna@example.com"), PASSWORD)

    with pytest.raises(EmailTaken):
        await services.accounts.register(UserDraftFactory.build(email="ANNA@example.com"), PASSWORD)


async def test_of_two_registrations_at_once_one_wins(services: Services) -> None:
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
async def test_what_breaks_a_rule_is_refused_before_any_work(
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


async def test_a_user_becomes_an_admin_and_keeps_the_password(
    ports: FakePorts, services: Services
) -> None:
    anna = await services.accounts.register(
        UserDraftFactory.build(email="anna@example.com"), PASSWORD
    )
    before = ports.storage.committed.accounts[anna.id].password

    promoted = await services.administration.make_admin("Anna@Example.com")

    assert promoted is not None
    assert asdict(promoted) == asdict(anna) | {"role": Role.ADMIN}
    assert (await services.accounts.user(anna.id)).role is Role.ADMIN
    assert ports.storage.committed.accounts[anna.id].password == before


async def test_an_unknown_address_becomes_no_admin(ports: FakePorts, services: Services) -> None:
    assert await services.administration.make_admin("nobody@example.com") is None
    assert ports.storage.committed.accounts == {}


async def test_an_admin_registers_as_one(services: Services) -> None:
    admin = await services.accounts.register(UserDraftFactory.build(), PASSWORD, Role.ADMIN)

    assert (await services.accounts.user(admin.id)).role is Role.ADMIN


async def test_the_audit_tells_of_registrations_and_promotions(
    ports: FakePorts, services: Services
) -> None:
    anna = await services.accounts.register(UserDraftFactory.build(), PASSWORD)
    with pytest.raises(EmailTaken):
        await services.accounts.register(UserDraftFactory.build(email=anna.email), PASSWORD)
    ports.clock.advance(timedelta(hours=1))
    await services.accounts.make_admin(anna.email)
    await services.accounts.make_admin("nobody@example.com")

    told = [entry.event for entry in ports.storage.committed.events]
    assert [(event.name, event.at) for event in told] == [
        ("user_registered", anna.created_at),
        ("user_promoted", ports.clock.now),
    ]
    assert {(event.actor_id, event.subject) for event in told} == {(None, f"user:{anna.id}")}


async def test_an_unknown_user_is_not_found(services: Services) -> None:
    with pytest.raises(UserNotFound, match="User with id: 7 was not found"):
        await services.accounts.user(UserId(7))


@pytest.mark.parametrize("down", [[], ["database"], ["migrations"]])
async def test_what_is_down_is_told(ports: FakePorts, services: Services, down: list[str]) -> None:
    ports.storage.down = down

    assert await services.what_is_down() == down
