"""Refresh tokens: one chain, whatever clients, tabs, thieves and the clock do."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from application.logins import ClientInfo, Login
from application.services import Services, build_services
from domain.sessions import InvalidToken, Lifetimes
from tests import logins
from tests.factories import UserDraftFactory
from tests.fakes.ports import FakePorts, fake_ports

EMAIL = "anna@example.com"
PASSWORD = "correct horse battery"
GRACE = Lifetimes().grace
INSTANT = timedelta(microseconds=1)


async def log_in(services: Services) -> Login:
    await services.accounts.register(UserDraftFactory.build(email=EMAIL), PASSWORD)
    return await log_in_again(services)


async def log_in_again(services: Services) -> Login:
    return await logins.log_in(services.auth, EMAIL, PASSWORD, ClientInfo())


async def is_refused(services: Services, token: str) -> bool:
    try:
        await services.auth.refresh(token)
    except InvalidToken:
        return True
    return False


async def test_the_token_rotated_last_gets_the_same_successor_within_the_grace(
    ports: FakePorts, services: Services
) -> None:
    login = await log_in(services)
    first = await services.auth.refresh(login.refresh_token)

    ports.clock.advance(GRACE - INSTANT)
    again = await services.auth.refresh(login.refresh_token)

    assert again.refresh_token == first.refresh_token
    assert again.refresh_life == first.refresh_life - GRACE + INSTANT
    for access_token in (first.access_token, again.access_token):
        await services.auth.authenticate(access_token)
    assert not await is_refused(services, again.refresh_token)


async def test_repeated_use_does_not_extend_the_grace(ports: FakePorts, services: Services) -> None:
    login = await log_in(services)
    first = await services.auth.refresh(login.refresh_token)
    for _ in range(2):
        ports.clock.advance(GRACE / 2 - INSTANT)
        await services.auth.refresh(login.refresh_token)
    ports.clock.advance(2 * INSTANT)

    assert await is_refused(services, login.refresh_token)
    assert await is_refused(services, first.refresh_token)


async def test_without_grace_every_reuse_revokes_the_session(ports: FakePorts) -> None:
    services = build_services(replace(ports, lifetimes=Lifetimes(grace=timedelta())))
    login = await log_in(services)
    first = await services.auth.refresh(login.refresh_token)

    assert await is_refused(services, login.refresh_token)
    assert await is_refused(services, first.refresh_token)


async def test_a_replay_of_a_revoked_session_is_refused(services: Services) -> None:
    login = await log_in(services)
    first = await services.auth.refresh(login.refresh_token)
    await services.auth.logout(first.session)

    assert await is_refused(services, login.refresh_token)


async def test_concurrent_refreshes_get_one_successor(services: Services) -> None:
    login = await log_in(services)

    answers = await asyncio.gather(*(services.auth.refresh(login.refresh_token) for _ in range(5)))

    assert len({answer.refresh_token for answer in answers}) == 1
    assert not await is_refused(services, answers[0].refresh_token)


async def test_neither_a_token_nor_its_successor_can_be_computed_from_what_is_stored(
    ports: FakePorts, services: Services
) -> None:
    login = await log_in(services)
    refreshed = await services.auth.refresh(login.refresh_token)
    stored = str(ports.storage.committed)

    for token in (login.refresh_token, refreshed.refresh_token):
        assert len(token) >= 43  # 256 bits
        assert token not in stored
    # The nonce of a rotation is gone after the next: an old token leads nowhere.
    nonces = {token.nonce for token in ports.storage.committed.refresh_tokens.values()}
    assert len(nonces) == 2


class Chain(RuleBasedStateMachine):
    """An owner with several tabs, who loses answers, and a thief, who copies tokens, against the
    model of one chain: a list of tokens, of which the last rotates.
    """

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.ports = fake_ports()
        self.services = build_services(self.ports)
        login = self.run(log_in(self.services))
        self.chain: list[str] = [login.refresh_token]
        self.rotated_at = self.ports.clock.now
        self.is_revoked = False
        self.tabs = [login.refresh_token] * 3
        self.stolen = [login.refresh_token]

    def run(self, work: Any) -> Any:
        return self.runner.run(work)

    def teardown(self) -> None:
        self.runner.close()

    def expected(self, token: str) -> str | None:
        """The model: the successor of `token`, or None for a refusal."""
        if self.is_revoked:
            return None
        place = self.chain.index(token)
        if place == len(self.chain) - 1:
            return ""  # a new one
        in_time = self.ports.clock.now - self.rotated_at < GRACE
        if place == len(self.chain) - 2 and in_time:
            return self.chain[-1]
        self.is_revoked = True
        return None

    def answered(self, token: str, answer: Login | BaseException) -> str | None:
        """Compare an answer with the model. Returns the refresh token in it."""
        expected = self.expected(token)
        if expected is None:
            assert isinstance(answer, InvalidToken)
            return None
        assert isinstance(answer, Login)
        if expected == "":
            assert answer.refresh_token not in self.chain
            self.chain.append(answer.refresh_token)
            self.rotated_at = self.ports.clock.now
        else:
            assert answer.refresh_token == expected
        return answer.refresh_token

    async def ask(self, *tokens: str) -> list[Login | BaseException]:
        refreshes = (self.services.auth.refresh(token) for token in tokens)
        return await asyncio.gather(*refreshes, return_exceptions=True)

    @rule(tab=st.integers(0, 2), is_lost=st.booleans())
    def refresh(self, tab: int, *, is_lost: bool) -> None:
        (answer,) = self.run(self.ask(self.tabs[tab]))
        token = self.answered(self.tabs[tab], answer)
        if token and not is_lost:
            self.tabs[tab] = token

    @rule(tabs=st.sets(st.integers(0, 2), min_size=2))
    def refresh_at_once(self, tabs: set[int]) -> None:
        """Tabs with the same token race with each other."""
        token = self.tabs[min(tabs)]
        racing = [tab for tab in tabs if self.tabs[tab] == token]
        for tab, answer in zip(racing, self.run(self.ask(*[token] * len(racing))), strict=True):
            self.tabs[tab] = self.answered(token, answer) or token

    @rule(tab=st.integers(0, 2))
    def share(self, tab: int) -> None:
        """All tabs read the token that one of them has stored."""
        self.tabs = [self.tabs[tab]] * 3

    @rule(tab=st.integers(0, 2))
    def steal(self, tab: int) -> None:
        self.stolen.append(self.tabs[tab])

    @rule(which=st.integers(0, 99), keeps=st.booleans())
    def use_stolen(self, which: int, *, keeps: bool) -> None:
        token = self.stolen[which % len(self.stolen)]
        (answer,) = self.run(self.ask(token))
        new = self.answered(token, answer)
        if new and keeps:
            self.stolen.append(new)

    @rule(seconds=st.sampled_from([1, 4, 9, 10, 11, 3600]))
    def wait(self, seconds: int) -> None:
        self.ports.clock.advance(timedelta(seconds=seconds))

    @precondition(lambda self: self.is_revoked)
    @rule()
    def log_in_again(self) -> None:
        login = self.run(log_in_again(self.services))
        self.chain, self.is_revoked = [login.refresh_token], False
        self.tabs, self.stolen = [login.refresh_token] * 3, [login.refresh_token]

    @invariant()
    def there_is_one_chain(self) -> None:
        sessions = self.ports.storage.committed.sessions.values()
        assert sum(session.revoked_at is None for session in sessions) == (not self.is_revoked)
        (*_, session_id) = self.ports.storage.committed.sessions
        stored = self.ports.storage.committed.refresh_chain(session_id)
        assert len(stored) == len(self.chain)


def test_there_is_one_chain_whatever_clients_a_thief_and_the_clock_do() -> None:
    bounded = settings(
        max_examples=40,
        stateful_step_count=25,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Chain, settings=bounded)
