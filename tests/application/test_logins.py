from dataclasses import replace

import pytest

from application.logins import ClientInfo, Logins
from application.ports.passwords import PasswordHash
from application.services import Services
from domain.sessions import InvalidCredentials, Lifetimes, Method
from tests.factories import UserDraftFactory
from tests.fakes.ports import FakePorts

CLIENT = ClientInfo(user_agent="pytest", ip="192.0.2.1")
METHODS = (Method.HARDWARE_KEY, Method.USER_PRESENCE)


@pytest.fixture
def logins(ports: FakePorts) -> Logins:
    return Logins(tokens=ports.tokens, clock=ports.clock, lifetimes=Lifetimes())


@pytest.mark.parametrize("is_new_network", [False, True])
async def test_a_session_is_started_for_whoever_was_authenticated(
    ports: FakePorts, services: Services, logins: Logins, is_new_network: bool
) -> None:
    user = await services.accounts.register(UserDraftFactory.build(), "correct horse battery")
    credentials = await ports.queries.credentials(user.email)
    assert credentials

    async with ports.storage() as uow:
        login = await logins.start(uow, credentials, METHODS, CLIENT, is_new_network=is_new_network)
        await uow.commit()

    found, session = await services.auth.authenticate(login.access_token)
    assert session
    assert (found.id, session.id, session.methods) == (user.id, login.session.id, METHODS)
    assert (session.user_agent, session.ip) == ("pytest", "192.0.2.1")
    assert (await services.auth.refresh(login.refresh_token)).session.id == session.id
    names = [entry.event.name for entry in ports.storage.committed.events]
    assert names[-1 - is_new_network :] == ["logged_in", "new_network_seen"][: 1 + is_new_network]
    assert len(ports.storage.committed.jobs) == is_new_network, "a notice"


async def test_no_session_is_started_once_the_password_or_the_state_has_changed(
    ports: FakePorts, services: Services, logins: Logins
) -> None:
    user = await services.accounts.register(UserDraftFactory.build(), "correct horse battery")
    credentials = await ports.queries.credentials(user.email)
    assert credentials
    changed = replace(credentials, password=PasswordHash("another"))

    async with ports.storage() as uow:
        with pytest.raises(InvalidCredentials):
            await logins.start(uow, changed, METHODS, CLIENT, is_new_network=False)
    ports.storage.change_user(user.id, is_active=False)
    async with ports.storage() as uow:
        with pytest.raises(InvalidCredentials):
            await logins.start(uow, credentials, METHODS, CLIENT, is_new_network=False)
