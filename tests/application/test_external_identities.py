"""Users whose tokens come from an outside provider."""

import asyncio
from dataclasses import asdict, replace
from datetime import datetime, timedelta

import pytest

from application.auth import AuthService
from application.external_identities import provision
from application.ports.tokens import ExternalClaims
from application.services import build_services
from domain.external_identities import ExternalIdentity
from domain.sessions import InvalidToken
from domain.users import LastAdmin, Role, User
from tests.factories import NewUserFactory
from tests.fakes.clock import NOON
from tests.fakes.ports import FakePorts
from tests.fakes.tokens import FakeTokens

HOUR = timedelta(hours=1)
ANNA = ExternalIdentity(
    issuer="https://provider.test", subject="1", verified_email="anna@example.com", name="Anna"
)


async def provisioned(
    ports: FakePorts, identity: ExternalIdentity = ANNA, *, issued_at: datetime = NOON
) -> User:
    claims = ExternalClaims(identity=identity, issued_at=issued_at, expires_at=issued_at + HOUR)
    return await provision(claims, queries=ports.queries, storage=ports.storage, now=NOON)


async def refuses(ports: FakePorts, identity: ExternalIdentity) -> bool:
    with pytest.raises(InvalidToken):
        await provisioned(ports, identity)
    return True


async def test_an_unknown_identity_is_registered(ports: FakePorts) -> None:
    user = await provisioned(ports)

    assert (user.email, user.name, user.role) == ("anna@example.com", "Anna", Role.MEMBER)
    assert user.is_verified
    assert user.created_at == NOON
    (entry,) = ports.storage.committed.events
    assert (entry.event.name, entry.event.subject) == ("user_registered", f"user:{user.id}")


async def test_a_known_identity_keeps_its_user_whatever_the_token_claims(ports: FakePorts) -> None:
    user = await provisioned(ports)
    ports.storage.change_user(user.id, name="Hanna")

    for changes in ({}, {"verified_email": None}, {"verified_email": "b@example.com", "name": "B"}):
        again = await provisioned(ports, replace(ANNA, **changes))
        assert (again.id, again.email, again.name) == (user.id, "anna@example.com", "Hanna")
    assert len(ports.storage.committed.events) == 1


async def test_a_claimed_address_is_stored_in_its_normal_form(ports: FakePorts) -> None:
    user = await provisioned(ports, replace(ANNA, verified_email=" anna@FAß.example"))

    assert user.email == "anna@faß.example"
    other = replace(ANNA, subject="2", verified_email="ANNA@xn--fa-hia.example")
    assert await refuses(ports, other)


async def test_an_identity_without_a_verified_address_is_refused(ports: FakePorts) -> None:
    assert await refuses(ports, replace(ANNA, verified_email=None))
    assert ports.storage.committed.accounts == {}


@pytest.mark.parametrize("email", ["", "anna", "a\0@example.com", "x" * 300 + "@example.com"])
async def test_an_identity_with_an_invalid_address_is_refused(ports: FakePorts, email: str) -> None:
    assert await refuses(ports, replace(ANNA, verified_email=email))
    assert ports.storage.committed.accounts == {}


@pytest.mark.parametrize("name", ["", " ", "a\nb", "x" * 101])
async def test_an_invalid_name_is_left_out(ports: FakePorts, name: str) -> None:
    assert (await provisioned(ports, replace(ANNA, name=name))).name is None


@pytest.mark.parametrize("email", ["anna@example.com", "ANNA@Example.com"])
async def test_an_address_that_another_account_has_is_refused(ports: FakePorts, email: str) -> None:
    async with ports.storage() as uow:
        registered = await uow.users.add(
            NewUserFactory.build(email=email), await ports.passwords.hash("x")
        )
        await uow.commit()
    before = asdict(registered)

    assert await refuses(ports, ANNA)

    found = await ports.queries.user(registered.id)
    assert found is not None
    assert asdict(found) == before


async def test_the_same_subject_of_another_issuer_is_another_user(
    ports: FakePorts,
) -> None:
    await provisioned(ports)

    assert await refuses(ports, replace(ANNA, issuer="https://evil.test"))


async def test_concurrent_first_requests_register_one_user(ports: FakePorts) -> None:
    users = await asyncio.gather(*(provisioned(ports) for _ in range(5)))

    assert len({user.id for user in users}) == 1
    assert len(ports.storage.committed.accounts) == 1


class ProviderTokens(FakeTokens):
    """Every token says that its bearer is Anna, as issued at `NOON`."""

    async def verify(self, token: str, now: datetime) -> ExternalClaims:
        return ExternalClaims(identity=ANNA, issued_at=NOON, expires_at=NOON + HOUR)


@pytest.fixture
def auth(ports: FakePorts) -> AuthService:
    return build_services(replace(ports, tokens=ProviderTokens())).auth


async def test_a_provider_s_token_authenticates_its_user_without_a_session(
    ports: FakePorts, auth: AuthService
) -> None:
    user, session = await auth.authenticate("any")
    again, _ = await auth.authenticate("any")

    assert session is None
    assert again.id == user.id == (await provisioned(ports)).id


async def test_a_provider_s_user_can_be_deactivated(ports: FakePorts, auth: AuthService) -> None:
    user, _ = await auth.authenticate("any")

    for changes in ({"is_active": False}, {"tokens_valid_from": NOON + timedelta(seconds=1)}):
        before = asdict(user)
        ports.storage.change_user(user.id, **changes)
        with pytest.raises(InvalidToken):
            await auth.authenticate("any")
        ports.storage.change_user(user.id, **{name: before[name] for name in changes})
    await auth.authenticate("any")


async def test_after_a_deletion_only_a_newer_token_registers_again(
    ports: FakePorts, auth: AuthService
) -> None:
    user, _ = await auth.authenticate("any")
    ports.clock.advance(timedelta(minutes=1))
    await build_services(ports).accounts.delete_external(user)

    with pytest.raises(InvalidToken):
        await auth.authenticate("any")
    later = await provisioned(ports, issued_at=ports.clock.now + timedelta(seconds=1))

    assert later.id != user.id
    assert later.email == user.email


async def test_the_last_admin_of_a_provider_cannot_delete_their_account(
    ports: FakePorts, auth: AuthService
) -> None:
    user, _ = await auth.authenticate("any")
    ports.storage.change_user(user.id, role=Role.ADMIN)

    with pytest.raises(LastAdmin):
        await build_services(ports).accounts.delete_external(user)
    await auth.authenticate("any")
