"""Users whose tokens come from an outside provider."""

import asyncio
from dataclasses import asdict, replace

import pytest

from application.external_identities import ExternalIdentity, ExternalIdentityService
from domain.sessions import InvalidToken
from domain.users import Role
from tests.factories import NewUserFactory
from tests.fakes.clock import NOON
from tests.fakes.ports import FakePorts

ANNA = ExternalIdentity(
    issuer="https://provider.test", subject="1", verified_email="anna@example.com", name="Anna"
)


@pytest.fixture
def visitors(ports: FakePorts) -> ExternalIdentityService:
    return ExternalIdentityService(queries=ports.queries, storage=ports.storage)


async def refuses(visitors: ExternalIdentityService, visitor: ExternalIdentity) -> bool:
    with pytest.raises(InvalidToken):
        await visitors.user(visitor, NOON)
    return True


async def test_a_user_is_made_at_first_sight(
    ports: FakePorts, visitors: ExternalIdentityService
) -> None:
    user = await visitors.user(ANNA, NOON)

    assert (user.email, user.name, user.role) == ("anna@example.com", "Anna", Role.MEMBER)
    assert user.is_verified
    assert user.created_at == NOON
    (entry,) = ports.storage.committed.events
    assert (entry.event.name, entry.event.subject) == ("user_registered", f"user:{user.id}")


async def test_from_then_on_the_user_is_the_same_whatever_the_token_says(
    ports: FakePorts, visitors: ExternalIdentityService
) -> None:
    user = await visitors.user(ANNA, NOON)
    ports.storage.change_user(user.id, name="Hanna")

    for changes in ({}, {"verified_email": None}, {"verified_email": "b@example.com", "name": "B"}):
        again = await visitors.user(replace(ANNA, **changes), NOON)
        assert (again.id, again.email, again.name) == (user.id, "anna@example.com", "Hanna")
    assert len(ports.storage.committed.events) == 1


async def test_a_claimed_address_is_stored_in_its_normal_form(
    ports: FakePorts, visitors: ExternalIdentityService
) -> None:
    user = await visitors.user(replace(ANNA, verified_email=" anna@FAß.example"), NOON)

    assert user.email == "anna@faß.example"
    other = replace(ANNA, subject="2", verified_email="ANNA@xn--fa-hia.example")
    assert await refuses(visitors, other)


async def test_without_a_verified_address_nobody_is_made(
    ports: FakePorts, visitors: ExternalIdentityService
) -> None:
    assert await refuses(visitors, replace(ANNA, verified_email=None))
    assert ports.storage.committed.accounts == {}


@pytest.mark.parametrize("email", ["", "anna", "a\0@example.com", "x" * 300 + "@example.com"])
async def test_an_address_that_breaks_a_rule_is_no_address(
    ports: FakePorts, visitors: ExternalIdentityService, email: str
) -> None:
    assert await refuses(visitors, replace(ANNA, verified_email=email))
    assert ports.storage.committed.accounts == {}


@pytest.mark.parametrize("name", ["", " ", "a\nb", "x" * 101])
async def test_a_name_that_breaks_a_rule_is_left_out(
    visitors: ExternalIdentityService, name: str
) -> None:
    assert (await visitors.user(replace(ANNA, name=name), NOON)).name is None


@pytest.mark.parametrize("email", ["anna@example.com", "ANNA@Example.com"])
async def test_an_address_that_another_account_has_is_refused(
    ports: FakePorts, visitors: ExternalIdentityService, email: str
) -> None:
    async with ports.storage() as uow:
        registered = await uow.users.add(
            NewUserFactory.build(email=email), await ports.passwords.hash("x")
        )
        await uow.commit()
    before = asdict(registered)

    assert await refuses(visitors, ANNA)

    found = await ports.queries.user(registered.id)
    assert found is not None
    assert asdict(found) == before


async def test_the_same_subject_of_another_issuer_is_another_person(
    visitors: ExternalIdentityService,
) -> None:
    await visitors.user(ANNA, NOON)

    assert await refuses(visitors, replace(ANNA, issuer="https://evil.test"))


async def test_of_many_first_sights_at_once_one_user_comes(
    ports: FakePorts, visitors: ExternalIdentityService
) -> None:
    users = await asyncio.gather(*(visitors.user(ANNA, NOON) for _ in range(5)))

    assert len({user.id for user in users}) == 1
    assert len(ports.storage.committed.accounts) == 1
