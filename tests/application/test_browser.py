from datetime import timedelta

import pytest

from application.browser import BrowserService
from application.logins import ClientInfo
from application.services import Services
from domain.sessions import InvalidToken
from tests.factories import UserDraftFactory
from tests.fakes.ports import FakePorts
from tests.logins import log_in

BROWSER = ClientInfo(is_browser=True)


async def cookie_of_somebody(services: Services) -> str:
    user = await services.accounts.register(UserDraftFactory.build(), "correct horse")
    login = await log_in(services.auth, user.email, "correct horse", BROWSER)
    assert (login.access_token, login.refresh_token) == ("", "")
    return login.cookie


async def test_a_session_slides_once_an_hour(ports: FakePorts, services: Services) -> None:
    cookie = await cookie_of_somebody(services)
    browser = services.of(BrowserService)

    outcomes = []
    for minutes in (59, 2, 59, 2):
        ports.clock.advance(timedelta(minutes=minutes))
        _, session, slides = await browser.authenticate(cookie)
        outcomes.append(slides)

    assert outcomes == [False, True, False, True]
    assert session.expires_at == ports.clock() + ports.lifetimes.refresh


async def test_a_session_is_believed_while_nothing_can_be_changed(
    ports: FakePorts, services: Services
) -> None:
    cookie = await cookie_of_somebody(services)
    ports.clock.advance(timedelta(hours=2))
    ports.storage.conflicts = 9

    user, _, _ = await services.of(BrowserService).authenticate(cookie)

    assert user.is_active


@pytest.mark.parametrize("suffix", ["x", " "])
async def test_another_value_is_no_cookie(services: Services, suffix: str) -> None:
    cookie = await cookie_of_somebody(services)

    with pytest.raises(InvalidToken):
        await services.of(BrowserService).authenticate(cookie + suffix)


async def test_a_session_ends_at_its_longest_life(ports: FakePorts, services: Services) -> None:
    cookie = await cookie_of_somebody(services)
    for _ in range(4):
        ports.clock.advance(timedelta(days=20))
        await services.of(BrowserService).authenticate(cookie)
    ports.clock.advance(timedelta(days=10))

    with pytest.raises(InvalidToken):
        await services.of(BrowserService).authenticate(cookie)
