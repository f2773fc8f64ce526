"""Passkeys on fakes: enrolment, login, and what uses up a challenge."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from application.logins import ClientInfo
from application.passkeys import PasskeyService
from application.ports.limits import Limit, TooManyRequests
from application.services import Ports, Services
from domain.factors import StaleLogin
from domain.passkeys import (
    CHALLENGE_LIFE,
    PASSKEYS_MAX,
    BadPasskey,
    BadPasskeyName,
    Passkey,
    PasskeyChallenge,
    PasskeyId,
    PasskeyKnown,
    PasskeyNotFound,
    TooManyPasskeys,
)
from domain.sessions import InvalidCredentials, Session
from domain.users import User
from tests.authenticator import Flaws, SoftwareAuthenticator
from tests.factories import PasskeyFactory, UserDraftFactory
from tests.fakes.ports import FakePorts
from tests.logins import log_in

PASSWORD = "correct horse battery"
CLIENT = ClientInfo(user_agent="pytest", ip="192.0.2.1")


@dataclass
class Owner:
    """A registered user with a session and a software authenticator."""

    services: Services
    user: User
    session: Session
    authenticator: SoftwareAuthenticator

    @property
    def passkeys(self) -> PasskeyService:
        return self.services.of(PasskeyService)

    async def enrol(self, name: str = "Phone", flaws: Flaws = Flaws()) -> Passkey:  # noqa: B008
        options: Any = await self.passkeys.enrolment_options(self.user, self.session)
        attestation = self.authenticator.create(options, flaws)
        return await self.passkeys.enrol(self.user, self.session, name, attestation)

    async def log_in(self, flaws: Flaws = Flaws()) -> User:  # noqa: B008
        options: Any = await self.passkeys.login_options()
        login = await self.passkeys.login(self.authenticator.get(options, flaws), CLIENT)
        return login.user

    async def prove(self) -> None:
        """Replace the session by a fresh one, proved by the passkey."""
        options: Any = await self.passkeys.login_options()
        login = await self.passkeys.login(self.authenticator.get(options), CLIENT)
        self.user, self.session = login.user, login.session


@pytest.fixture
def register(services: Services) -> Callable[[], Awaitable[Owner]]:
    async def register() -> Owner:
        draft = UserDraftFactory.build()
        await services.accounts.register(draft, PASSWORD)
        login = await log_in(services.auth, draft.email, PASSWORD, CLIENT)
        return Owner(services, login.user, login.session, SoftwareAuthenticator())

    return register


@pytest.fixture
async def anna(register: Callable[[], Awaitable[Owner]]) -> Owner:
    return await register()


@pytest.fixture
async def bob(register: Callable[[], Awaitable[Owner]]) -> Owner:
    return await register()


def challenges(ports: FakePorts) -> int:
    return len(ports.storage.committed.rows(PasskeyChallenge))


async def test_a_passkey_logs_its_owner_in_without_a_name(anna: Owner, bob: Owner) -> None:
    passkey = await anna.enrol("Phone")
    await bob.enrol()

    assert (passkey.name, passkey.last_used_at) == ("Phone", None)
    assert (await anna.log_in()).id == anna.user.id
    assert (await bob.log_in()).id == bob.user.id
    (used,) = await anna.passkeys.passkeys(anna.user)
    assert used.state.sign_count == 1
    assert used.last_used_at is not None


async def test_a_session_by_passkey_says_so_and_is_fresh(anna: Owner) -> None:
    await anna.enrol()
    with pytest.raises(StaleLogin):  # a password alone proves nothing any more
        await anna.enrol()

    await anna.prove()

    assert [method.value for method in anna.session.methods] == ["hwk", "user"]
    await anna.passkeys.enrolment_options(anna.user, anna.session)


async def test_all_passkeys_of_a_user_have_one_handle_and_are_excluded(anna: Owner) -> None:
    first: Any = await anna.passkeys.enrolment_options(anna.user, anna.session)
    assert first["excludeCredentials"] == []
    await anna.enrol()
    handle = anna.authenticator.user_handle
    await anna.prove()

    second: Any = await anna.passkeys.enrolment_options(anna.user, anna.session)
    anna.authenticator = SoftwareAuthenticator()
    await anna.enrol("Tablet")

    assert len(second["excludeCredentials"]) == 1
    assert anna.authenticator.user_handle == handle
    assert [it.name for it in await anna.passkeys.passkeys(anna.user)] == ["Phone", "Tablet"]


REFUSED_LOGINS = {
    "a bogus signature": Flaws(signature=b"bogus"),
    "an unverified user": Flaws(is_verified=False),
    "a counter that goes back": Flaws(sign_count=0),
    "no user handle": Flaws(without_user_handle=True),
    "a foreign user handle": Flaws(user_handle=b"another"),
    "a changed backup eligibility": Flaws(backup=(False, False)),
    "an unknown credential": Flaws(credential_id=b"unknown"),
    "an unknown challenge": Flaws(challenge=b"unknown"),
}


@pytest.mark.parametrize("flaws", REFUSED_LOGINS.values(), ids=REFUSED_LOGINS.keys())
async def test_a_login_is_refused_for(ports: FakePorts, anna: Owner, flaws: Flaws) -> None:
    await anna.enrol()
    await anna.log_in()
    sessions = len(ports.storage.committed.sessions)

    with pytest.raises(InvalidCredentials):
        await anna.log_in(flaws)

    assert len(ports.storage.committed.sessions) == sessions
    assert challenges(ports) == (1 if flaws.challenge else 0), "the failed try used it up"
    assert "login_failed" in [entry.event.name for entry in ports.storage.committed.events]
    assert (await anna.log_in()).id == anna.user.id


async def test_a_passkey_of_somebody_else_is_refused(anna: Owner, bob: Owner) -> None:
    await anna.enrol()
    await bob.enrol()
    bob.authenticator.user_handle = anna.authenticator.user_handle

    with pytest.raises(InvalidCredentials):
        await bob.log_in()


async def test_a_challenge_is_answered_once_and_within_its_life(
    ports: FakePorts, anna: Owner
) -> None:
    await anna.enrol()
    options: Any = await anna.passkeys.login_options()
    await anna.passkeys.login(anna.authenticator.get(options), CLIENT)

    with pytest.raises(InvalidCredentials):
        await anna.passkeys.login(anna.authenticator.get(options), CLIENT)

    options = await anna.passkeys.login_options()
    ports.clock.advance(CHALLENGE_LIFE)
    with pytest.raises(InvalidCredentials):
        await anna.passkeys.login(anna.authenticator.get(options), CLIENT)


async def test_of_many_logins_with_one_answer_one_succeeds(anna: Owner) -> None:
    await anna.enrol()
    options: Any = await anna.passkeys.login_options()
    assertion = anna.authenticator.get(options)

    results = await asyncio.gather(
        *(anna.passkeys.login(assertion, CLIENT) for _ in range(20)), return_exceptions=True
    )

    assert sum(isinstance(result, InvalidCredentials) for result in results) == 19


@pytest.mark.parametrize("is_active", [False, None])
async def test_a_user_who_is_deactivated_or_gone_is_refused(
    ports: FakePorts, anna: Owner, is_active: bool | None
) -> None:
    await anna.enrol()
    if is_active is None:
        ports.storage.remove_user(anna.user.id)
    else:
        ports.storage.change_user(anna.user.id, is_active=False)

    with pytest.raises(InvalidCredentials):
        await anna.log_in()
    assert challenges(ports) == 0


async def test_failed_logins_are_limited_by_account_before_the_work(
    ports: FakePorts, anna: Owner
) -> None:
    await anna.enrol()
    ports.limits.quotas[Limit.LOGIN_FAILURES] = 3
    for _ in range(3):
        with pytest.raises(InvalidCredentials):
            await anna.log_in(Flaws(signature=b"bogus"))

    with pytest.raises(TooManyRequests):
        await anna.log_in()
    with pytest.raises(TooManyRequests):
        await anna.services.auth.login(anna.user.email, PASSWORD, CLIENT)
    ports.limits.pass_window()
    for _ in range(5):  # what succeeds is not counted
        await anna.log_in()


REFUSED_ENROLMENTS = {
    "an unverified user": Flaws(is_verified=False),
    "another origin": Flaws(origin="https://example.com"),
    "an algorithm that was not offered": Flaws(algorithm=-35),
}


@pytest.mark.parametrize("flaws", REFUSED_ENROLMENTS.values(), ids=REFUSED_ENROLMENTS.keys())
async def test_a_refused_enrolment_uses_up_its_challenge(
    ports: FakePorts, anna: Owner, flaws: Flaws
) -> None:
    with pytest.raises(BadPasskey):
        await anna.enrol(flaws=flaws)

    assert challenges(ports) == 0
    assert await anna.passkeys.passkeys(anna.user) == []
    assert not ports.storage.committed.accounts[anna.user.id].user.second_factor


async def test_the_challenge_of_another_user_or_of_a_login_enrols_nothing(
    ports: FakePorts, anna: Owner, bob: Owner
) -> None:
    hers: Any = await anna.passkeys.enrolment_options(anna.user, anna.session)
    login: Any = await anna.passkeys.login_options()
    for options in (hers, {**hers, "challenge": login["challenge"]}):
        attestation = bob.authenticator.create(options)
        with pytest.raises(BadPasskey):
            await bob.passkeys.enrol(bob.user, bob.session, "Phone", attestation)

    assert challenges(ports) == 0


async def test_a_challenge_of_an_enrolment_logs_nobody_in(anna: Owner) -> None:
    options: Any = await anna.passkeys.enrolment_options(anna.user, anna.session)
    await anna.enrol()
    login: Any = await anna.passkeys.login_options()
    assertion = anna.authenticator.get({**login, "challenge": options["challenge"]})

    with pytest.raises(InvalidCredentials):
        await anna.passkeys.login(assertion, CLIENT)


async def test_a_known_credential_is_refused_and_uses_up_the_challenge(
    ports: FakePorts, anna: Owner, bob: Owner
) -> None:
    await anna.enrol()
    bob.authenticator = anna.authenticator

    with pytest.raises(PasskeyKnown):
        await bob.enrol()
    assert challenges(ports) == 0


async def test_an_unsound_name_is_refused_and_the_challenge_stays(
    ports: FakePorts, anna: Owner
) -> None:
    with pytest.raises(BadPasskeyName):
        await anna.enrol("\n")
    assert challenges(ports) == 1


async def test_a_user_has_a_limited_number_of_passkeys(ports: FakePorts, anna: Owner) -> None:
    options: Any = await anna.passkeys.enrolment_options(anna.user, anna.session)
    for _ in range(PASSKEYS_MAX):
        passkey = PasskeyFactory.build(user_id=anna.user.id)
        ports.storage.committed.put(passkey.id, passkey)

    attestation = anna.authenticator.create(options)
    with pytest.raises(TooManyPasskeys):
        await anna.passkeys.enrol(anna.user, anna.session, "Phone", attestation)
    with pytest.raises(TooManyPasskeys):
        await anna.passkeys.enrolment_options(anna.user, anna.session)
    assert challenges(ports) == 0


async def test_a_passkey_is_a_second_factor_until_the_last_one_is_removed(
    ports: FakePorts, anna: Owner
) -> None:
    def since() -> object:
        return ports.storage.committed.accounts[anna.user.id].user.second_factor_since

    first = await anna.enrol()
    assert since() == ports.clock()
    started = ports.clock()
    ports.clock.advance(timedelta(seconds=1))
    await anna.prove()
    anna.authenticator = SoftwareAuthenticator()
    second = await anna.enrol("Tablet")

    await anna.passkeys.remove(anna.user, anna.session, first.id)
    assert since() == started
    await anna.passkeys.remove(anna.user, anna.session, second.id)
    assert since() is None
    with pytest.raises(InvalidCredentials):
        await anna.log_in()


async def test_passkeys_are_renamed_and_removed_by_their_owner_alone(
    anna: Owner, bob: Owner
) -> None:
    passkey = await anna.enrol()

    for passkey_id in (passkey.id, PasskeyId(10**9)):
        with pytest.raises(PasskeyNotFound):
            await bob.passkeys.rename(bob.user, passkey_id, "Mine")
        with pytest.raises(PasskeyNotFound):
            await bob.passkeys.remove(bob.user, bob.session, passkey_id)
    renamed = await anna.passkeys.rename(anna.user, passkey.id, " Tablet ")

    assert renamed.name == "Tablet"
    assert [it.name for it in await anna.passkeys.passkeys(anna.user)] == ["Tablet"]


async def test_what_changes_passkeys_needs_a_fresh_session(ports: FakePorts, anna: Owner) -> None:
    options: Any = await anna.passkeys.enrolment_options(anna.user, anna.session)
    attestation = anna.authenticator.create(options)
    ports.clock.advance(timedelta(hours=1))
    passkeys, user, session = anna.passkeys, anna.user, anna.session

    for attempt in (
        lambda: passkeys.enrolment_options(user, session),
        lambda: passkeys.enrol(user, session, "Phone", attestation),
        lambda: passkeys.remove(user, session, PasskeyId(1)),
    ):
        with pytest.raises(StaleLogin):
            await attempt()


async def test_changes_are_in_the_audit(ports: FakePorts, anna: Owner) -> None:
    passkey = await anna.enrol()
    await anna.prove()
    await anna.passkeys.rename(anna.user, passkey.id, "Tablet")
    await anna.passkeys.remove(anna.user, anna.session, passkey.id)

    events = [entry.event for entry in ports.storage.committed.events]
    changes = [event for event in events if event.subject == f"passkey:{passkey.id}"]
    assert [event.name for event in changes] == [
        "passkey_added",
        "passkey_renamed",
        "passkey_removed",
    ]
    assert all(event.actor_id == anna.user.id and not event.details for event in changes)


def test_there_is_no_service_without_a_relying_party(ports: FakePorts) -> None:
    without: Ports = replace(ports, passkeys=None)  # type: ignore[arg-type]  # as in production
    with pytest.raises(ValueError, match="relying party"):
        PasskeyService(without)
