"""Audit events for guessing and flooding."""

import asyncio

import pytest

from application.logins import ClientInfo
from application.ports.limits import Hit, Limit, TooManyRequests
from application.services import Services
from domain.passwords import WrongPassword
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


def recorded(ports: FakePorts, name: str) -> list[tuple[str, dict[str, object]]]:
    """Subject and details of the events of that name."""
    events = (entry.event for entry in ports.storage.committed.events)
    return [(event.subject, dict(event.details)) for event in events if event.name == name]


async def fail(services: Services, client: ClientInfo = HOME, email: str = EMAIL) -> None:
    with pytest.raises((InvalidCredentials, TooManyRequests)):
        await log_in(services.auth, email, "wrong", client)


async def test_a_failed_login_is_recorded(ports: FakePorts, services: Services, anna: User) -> None:
    await fail(services)

    assert recorded(ports, "login_failed") == [(f"user:{anna.id}", {})]
    (event,) = (e.event for e in ports.storage.committed.events if e.event.name == "login_failed")
    assert (event.actor_id, event.at) == (None, ports.clock())


async def test_a_login_that_succeeds_is_not_recorded_as_failed(
    ports: FakePorts, services: Services, anna: User
) -> None:
    await log_in(services.auth, EMAIL, PASSWORD, HOME)

    assert recorded(ports, "login_failed") == []


async def test_failures_at_an_account_from_an_origin_are_recorded_once_a_minute(
    ports: FakePorts, services: Services, anna: User
) -> None:
    await asyncio.gather(*(fail(services) for _ in range(5)))
    assert len(recorded(ports, "login_failed")) == 1

    await fail(services, ELSEWHERE)
    await fail(services, HOME, "bob@example.com")
    assert len(recorded(ports, "login_failed")) == 3

    ports.limits.pass_window()
    await fail(services)
    assert len(recorded(ports, "login_failed")) == 4


async def test_a_failure_at_an_unknown_address_is_recorded_without_the_address(
    ports: FakePorts, services: Services
) -> None:
    await fail(services, email="hunter2@example.com")

    assert recorded(ports, "login_failed") == [("user:unknown", {})]
    assert "hunter2" not in str(ports.storage.committed.events)


async def test_known_and_unknown_addresses_cost_the_same_commits(
    ports: FakePorts, services: Services, anna: User
) -> None:
    commits = []
    for email in (EMAIL, "nobody@example.com"):
        for _ in range(2):
            before = len(ports.storage.committed.events)
            await fail(services, email=email)
            commits.append(len(ports.storage.committed.events) - before)

    assert commits == [1, 0] * 2


async def test_a_wrong_current_password_is_recorded_as_a_failed_login(
    ports: FakePorts, services: Services, anna: User
) -> None:
    with pytest.raises(WrongPassword):
        await services.accounts.delete(anna, "wrong", ip=HOME.ip)

    assert recorded(ports, "login_failed") == [(f"user:{anna.id}", {})]


async def test_an_exhausted_limit_is_recorded_once_a_minute(
    ports: FakePorts, services: Services, anna: User
) -> None:
    ports.limits.quotas = {Limit.LOGIN_FAILURES: 1}
    for _ in range(4):
        await fail(services)

    assert recorded(ports, "limit_reached") == [(f"user:{anna.id}", {"limit": "login-failures"})]
    await fail(services, email="nobody@example.com")
    await fail(services, email="nobody@example.com")
    assert recorded(ports, "limit_reached")[1:] == [("user:unknown", {"limit": "login-failures"})]


async def test_a_limit_below_its_quota_is_not_recorded(
    ports: FakePorts, services: Services
) -> None:
    ports.limits.quotas = {Limit.WRITES: 2}

    await services.limits.hit(Hit(Limit.WRITES, "7", subject="user:7"))
    await services.limits.hit(Hit(Limit.WRITES, "7", subject="user:7"))

    assert recorded(ports, "limit_reached") == []


async def test_a_refusal_is_not_affected_by_a_database_that_is_down(
    ports: FakePorts, services: Services, anna: User
) -> None:
    ports.limits.quotas = {Limit.WRITES: 0}
    ports.storage.down.append("database")

    with pytest.raises(TooManyRequests):
        await services.limits.hit(Hit(Limit.WRITES, "7", subject="user:7"))
