import asyncio
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import timedelta

import pytest

from application.auth import AuthService
from application.logins import ClientInfo, Login
from application.ports.passwords import SOMEBODY, PasswordHash, Requester
from application.services import Services, build_services
from domain.errors import Unavailable
from domain.sessions import (
    InvalidCredentials,
    InvalidToken,
    Lifetimes,
    SessionId,
    SessionNotFound,
    refresh_hash,
)
from domain.users import Role, User, UserId
from tests.factories import UserDraftFactory
from tests.fakes.passwords import FakePasswords
from tests.fakes.ports import FakePorts
from tests.fakes.tokens import issued
from tests.logins import log_in

EMAIL = "anna@example.com"
PASSWORD = "correct horse battery"
DEVICE = ClientInfo(user_agent="pytest", ip="192.0.2.1")
SECOND = timedelta(seconds=1)


@pytest.fixture
def auth(services: Services) -> AuthService:
    return services.auth


@pytest.fixture
async def anna(services: Services) -> User:
    return await services.accounts.register(UserDraftFactory.build(email=EMAIL), PASSWORD)


@pytest.fixture
async def login(auth: AuthService, anna: User) -> Login:
    return await log_in(auth, EMAIL, PASSWORD, DEVICE)


async def refuses(auth: AuthService, token: str) -> bool:
    with pytest.raises(InvalidToken) as refusal:
        await auth.authenticate(token)
    return str(refusal.value) == InvalidToken.detail


# Logging in


async def test_a_login_starts_a_session_of_the_user(
    ports: FakePorts, auth: AuthService, anna: User
) -> None:
    login = await log_in(auth, "Anna@Example.com", PASSWORD, DEVICE)

    assert asdict(login.user) == asdict(anna)
    found = await ports.queries.session_user(login.session.id)
    assert found is not None
    assert asdict(found[0]) == asdict(login.session)
    assert login.session.user_id == anna.id
    assert login.session.created_at == ports.clock.now
    assert login.session.expires_at == ports.clock.now + Lifetimes().refresh
    assert (login.session.user_agent, login.session.ip) == ("pytest", "192.0.2.1")


async def test_an_access_token_has_user_session_and_times_in_whole_seconds(
    ports: FakePorts, login: Login
) -> None:
    claims = ports.tokens.issued[login.access_token]

    assert (claims.user_id, claims.session_id) == (login.user.id, login.session.id)
    assert claims.issued_at == ports.clock.now.replace(microsecond=0)
    assert claims.expires_at - claims.issued_at == Lifetimes().access


async def test_lifetimes_are_settings(ports: FakePorts, anna: User) -> None:
    lifetimes = Lifetimes(access=timedelta(minutes=1), refresh=timedelta(days=1))
    auth = build_services(replace(ports, lifetimes=lifetimes)).auth

    login = await log_in(auth, EMAIL, PASSWORD, DEVICE)

    claims = ports.tokens.issued[login.access_token]
    assert claims.expires_at - claims.issued_at == timedelta(minutes=1)
    assert login.session.expires_at - login.session.created_at == timedelta(days=1)
    assert (login.access_life, login.refresh_life) == (lifetimes.access, lifetimes.refresh)


async def test_every_login_has_its_own_session_and_tokens(auth: AuthService, login: Login) -> None:
    second = await log_in(auth, EMAIL, PASSWORD, DEVICE)

    assert second.session.id != login.session.id
    assert second.access_token != login.access_token
    assert second.refresh_token != login.refresh_token


async def test_a_refresh_token_is_long_and_hidden_from_repr(login: Login) -> None:
    assert len(login.refresh_token) >= 43  # 256 bits
    assert login.refresh_token not in repr(login)
    assert login.access_token not in repr(login)
    assert refresh_hash(login.refresh_token) not in repr(login)


@pytest.mark.parametrize(
    ("email", "password"),
    [
        (EMAIL, "wrong horse battery"),
        (EMAIL, ""),
        (EMAIL, PASSWORD.upper()),
        ("nobody@example.com", PASSWORD),
        ("", ""),
    ],
)
async def test_all_bad_credentials_have_the_same_error_and_cost(
    ports: FakePorts, auth: AuthService, anna: User, email: str, password: str
) -> None:
    work = ports.passwords.work

    with pytest.raises(InvalidCredentials, match=r"^Incorrect username or password$"):
        await log_in(auth, email, password, DEVICE)

    assert ports.passwords.work == work + 1
    assert ports.storage.committed.sessions == {}


async def test_a_deactivated_user_has_the_same_error_and_cost(
    ports: FakePorts, auth: AuthService, anna: User
) -> None:
    ports.storage.change_user(anna.id, is_active=False)
    work = ports.passwords.work

    with pytest.raises(InvalidCredentials):
        await log_in(auth, EMAIL, PASSWORD, DEVICE)

    assert ports.passwords.work == work + 1
    assert ports.storage.committed.sessions == {}


class SlowPasswords(FakePasswords):
    """Something happens while a password is being checked."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        super().__init__()
        self._meanwhile = meanwhile

    async def verify(
        self, password: str, stored: PasswordHash | None, requester: Requester = SOMEBODY
    ) -> bool:
        matches = await super().verify(password, stored, requester)
        self._meanwhile()
        return matches


@pytest.mark.parametrize("change", ["password", "deactivation", "deletion"])
async def test_a_change_during_the_password_check_refuses_the_login(
    ports: FakePorts, anna: User, change: str
) -> None:
    def meanwhile() -> None:
        if change == "password":
            ports.storage.change_password(anna.id, PasswordHash("a new hash"))
        elif change == "deactivation":
            ports.storage.change_user(anna.id, is_active=False)
        else:
            ports.storage.remove_user(anna.id)

    auth = build_services(replace(ports, passwords=SlowPasswords(meanwhile))).auth

    with pytest.raises(InvalidCredentials):
        await log_in(auth, EMAIL, PASSWORD, DEVICE)
    assert ports.storage.committed.sessions == {}


async def test_no_token_is_issued_for_a_session_that_is_not_stored(
    ports: FakePorts, anna: User
) -> None:
    def go_down() -> None:
        ports.storage.down = ["database"]

    auth = build_services(replace(ports, passwords=SlowPasswords(go_down))).auth

    with pytest.raises(Unavailable):
        await log_in(auth, EMAIL, PASSWORD, DEVICE)
    assert ports.tokens.issued == {}


async def test_the_audit_records_logins_without_tokens(
    ports: FakePorts, auth: AuthService, login: Login
) -> None:
    with pytest.raises(InvalidCredentials):
        await log_in(auth, EMAIL, "wrong horse battery", DEVICE)

    event = ports.storage.committed.events[-2].event
    assert (event.name, event.actor_id, event.at) == ("logged_in", login.user.id, ports.clock.now)
    assert event.subject == f"session:{login.session.id}"
    assert login.refresh_token not in repr(ports.storage.committed.events)
    assert "horse" not in repr(ports.storage.committed.events)


# Hashes that are not up to date


async def test_a_login_replaces_an_outdated_hash(
    ports: FakePorts, auth: AuthService, anna: User
) -> None:
    old = ports.storage.committed.accounts[anna.id].password
    ports.passwords.outdated.add(old)

    await log_in(auth, EMAIL, PASSWORD, DEVICE)

    new = ports.storage.committed.accounts[anna.id].password
    assert new != old
    assert await ports.passwords.verify(PASSWORD, new)
    await log_in(auth, EMAIL, PASSWORD, DEVICE)
    assert ports.storage.committed.accounts[anna.id].password == new


async def test_a_wrong_password_replaces_no_hash(
    ports: FakePorts, auth: AuthService, anna: User
) -> None:
    old = ports.storage.committed.accounts[anna.id].password
    ports.passwords.outdated.add(old)
    work = ports.passwords.work

    with pytest.raises(InvalidCredentials):
        await log_in(auth, EMAIL, "another password", DEVICE)

    assert ports.passwords.work == work + 1
    assert ports.storage.committed.accounts[anna.id].password == old


async def test_concurrent_logins_with_an_outdated_hash_all_succeed(
    ports: FakePorts, auth: AuthService, anna: User
) -> None:
    ports.passwords.outdated.add(ports.storage.committed.accounts[anna.id].password)

    logins = await asyncio.gather(*(log_in(auth, EMAIL, PASSWORD, DEVICE) for _ in range(5)))

    assert len({login.session.id for login in logins}) == 5


# Who is asking


async def test_a_token_authenticates_its_user(auth: AuthService, anna: User, login: Login) -> None:
    user, session = await auth.authenticate(login.access_token)

    assert asdict(user) == asdict(anna)
    assert session is not None
    assert asdict(session) == asdict(login.session)


async def test_authentication_reads_the_current_user(
    ports: FakePorts, auth: AuthService, login: Login
) -> None:
    await auth.authenticate(login.access_token)
    ports.storage.change_user(login.user.id, name="Hanna", role=Role.MODERATOR)

    user, _ = await auth.authenticate(login.access_token)

    assert (user.name, user.role) == ("Hanna", Role.MODERATOR)


@pytest.mark.parametrize("token", ["", "token-1", "Bearer"])
async def test_a_bad_token_is_refused(auth: AuthService, login: Login, token: str) -> None:
    assert await refuses(auth, token)


async def test_a_token_is_refused_at_its_expiry(
    ports: FakePorts, auth: AuthService, login: Login
) -> None:
    expires_at = ports.tokens.issued[login.access_token].expires_at

    ports.clock.now = expires_at - timedelta(microseconds=1)
    await auth.authenticate(login.access_token)
    ports.clock.now = expires_at
    assert await refuses(auth, login.access_token)


CHANGES: dict[str, Callable[[FakePorts, Login], None]] = {
    "deactivation": lambda ports, login: ports.storage.change_user(login.user.id, is_active=False),
    "deletion": lambda ports, login: ports.storage.remove_user(login.user.id),
    "revocation": lambda ports, login: ports.storage.change_session(
        login.session.id, revoked_at=ports.clock.now
    ),
    "the session's end": lambda ports, login: ports.storage.change_session(
        login.session.id, expires_at=ports.clock.now
    ),
    "tokens being no longer valid": lambda ports, login: ports.storage.change_user(
        login.user.id, tokens_valid_from=ports.clock.now + SECOND
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
async def test_a_token_is_refused_on_the_next_request_after(
    ports: FakePorts,
    auth: AuthService,
    login: Login,
    change: Callable[[FakePorts, Login], None],
) -> None:
    await auth.authenticate(login.access_token)

    change(ports, login)

    assert await refuses(auth, login.access_token)


async def test_revoking_a_session_keeps_the_others(
    ports: FakePorts, auth: AuthService, login: Login
) -> None:
    other = await log_in(auth, EMAIL, PASSWORD, DEVICE)
    ports.storage.change_session(login.session.id, revoked_at=ports.clock.now)

    assert await refuses(auth, login.access_token)
    assert (await auth.authenticate(other.access_token))[0].id == login.user.id


async def test_a_token_that_names_another_user_or_session_is_refused(
    ports: FakePorts, auth: AuthService, login: Login
) -> None:
    claims = ports.tokens.issued[login.access_token]
    other_user = replace(claims, user_id=UserId(claims.user_id + 1000))
    other_session = replace(claims, session_id=SessionId(claims.session_id + 1000))

    for other in (other_user, other_session):
        assert await refuses(auth, await issued(ports.tokens, other))


async def test_an_outage_of_the_storage_is_not_reported_as_a_bad_token(
    ports: FakePorts, auth: AuthService, login: Login
) -> None:
    ports.storage.down = ["database"]

    with pytest.raises(Unavailable):
        await auth.authenticate(login.access_token)


async def test_a_failed_token_issue_at_login_stores_no_session(
    ports: FakePorts, auth: AuthService, anna: User
) -> None:
    ports.tokens.trouble = Unavailable()

    with pytest.raises(Unavailable):
        await log_in(auth, anna.email, PASSWORD, ClientInfo())

    assert ports.storage.committed.sessions == {}


async def test_a_refresh_can_be_repeated_after_a_failed_token_issue(
    ports: FakePorts, auth: AuthService, login: Login
) -> None:
    ports.tokens.trouble = Unavailable()
    with pytest.raises(Unavailable):
        await auth.refresh(login.refresh_token)

    ports.tokens.trouble = None
    refreshed = await auth.refresh(login.refresh_token)

    await auth.authenticate(refreshed.access_token)


# Going on


async def refuses_to_refresh(auth: AuthService, token: str) -> bool:
    with pytest.raises(InvalidToken) as refusal:
        await auth.refresh(token)
    return str(refusal.value) == InvalidToken.detail


def events(ports: FakePorts) -> list[str]:
    return [entry.event.name for entry in ports.storage.committed.events][2:]


async def test_a_refresh_extends_the_session_with_new_tokens(
    ports: FakePorts, auth: AuthService, login: Login
) -> None:
    ports.clock.advance(timedelta(hours=2))
    assert await refuses(auth, login.access_token)

    refreshed = await auth.refresh(login.refresh_token)

    assert refreshed.refresh_token != login.refresh_token
    user, session = await auth.authenticate(refreshed.access_token)
    assert session is not None
    assert user.id == login.user.id
    assert session.id == login.session.id
    assert session.created_at == login.session.created_at
    assert session.last_used_at == ports.clock.now
    assert session.expires_at == ports.clock.now + Lifetimes().refresh
    assert refreshed.refresh_token not in repr(refreshed)


async def test_refreshes_extend_a_session_up_to_its_maximum_lifetime(
    ports: FakePorts, auth: AuthService, login: Login
) -> None:
    last = login
    for _ in range(3):
        ports.clock.advance(timedelta(days=29))
        last = await auth.refresh(last.refresh_token)
    assert last.session.expires_at == login.session.created_at + timedelta(days=90)
    assert last.refresh_life == timedelta(days=3)

    ports.clock.advance(timedelta(days=3) - timedelta(minutes=10))
    last = await auth.refresh(last.refresh_token)
    assert last.access_life == timedelta(minutes=10)

    ports.clock.advance(timedelta(minutes=10))
    assert await refuses(auth, last.access_token)
    assert await refuses_to_refresh(auth, last.refresh_token)


async def test_a_session_without_a_refresh_expires(
    ports: FakePorts, auth: AuthService, login: Login
) -> None:
    ports.clock.advance(Lifetimes().refresh)

    assert await refuses_to_refresh(auth, login.refresh_token)


@pytest.mark.parametrize("token", ["", "x", "\ud800", "é" * 5000, "0" * 64])
async def test_an_unknown_refresh_token_changes_nothing(
    ports: FakePorts, auth: AuthService, login: Login, token: str
) -> None:
    for garbage in (token, login.access_token, login.refresh_token + token + " "):
        assert await refuses_to_refresh(auth, garbage)

    assert events(ports) == []
    await auth.authenticate(login.access_token)
    await auth.refresh(login.refresh_token)


async def test_a_stored_hash_is_not_accepted_as_a_token(auth: AuthService, login: Login) -> None:
    assert await refuses_to_refresh(auth, refresh_hash(login.refresh_token))
    await auth.refresh(login.refresh_token)


async def test_reuse_of_a_rotated_token_revokes_the_session(
    ports: FakePorts, auth: AuthService, login: Login
) -> None:
    other = await log_in(auth, EMAIL, PASSWORD, DEVICE)
    second = await auth.refresh(login.refresh_token)
    third = await auth.refresh(second.refresh_token)

    assert await refuses_to_refresh(auth, login.refresh_token)

    for token in (login.access_token, second.access_token, third.access_token):
        assert await refuses(auth, token)
    for token in (login.refresh_token, second.refresh_token, third.refresh_token):
        assert await refuses_to_refresh(auth, token)
    await auth.authenticate(other.access_token)
    reused = [e for e in ports.storage.committed.events if e.event.name == "refresh_token_reused"]
    assert [(e.event.actor_id, e.event.subject) for e in reused] == [
        (None, f"session:{login.session.id}")
    ]


async def test_without_grace_concurrent_refreshes_leave_no_token(ports: FakePorts) -> None:
    lifetimes = Lifetimes(grace=timedelta())
    services = build_services(replace(ports, lifetimes=lifetimes))
    await services.accounts.register(UserDraftFactory.build(email=EMAIL), PASSWORD)
    auth = services.auth
    login = await log_in(auth, EMAIL, PASSWORD, DEVICE)

    answers = await asyncio.gather(
        *(auth.refresh(login.refresh_token) for _ in range(5)), return_exceptions=True
    )

    won = [answer for answer in answers if isinstance(answer, Login)]
    assert len(won) <= 1
    assert all(isinstance(a, Login | InvalidToken) for a in answers)
    # Nobody can tell which of them was the thief.
    assert await refuses(auth, login.access_token)
    for answer in won:
        assert await refuses_to_refresh(auth, answer.refresh_token)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
async def test_no_refresh_after(
    ports: FakePorts,
    auth: AuthService,
    login: Login,
    change: Callable[[FakePorts, Login], None],
) -> None:
    change(ports, login)

    assert await refuses_to_refresh(auth, login.refresh_token)


# Ending


async def test_a_logout_revokes_only_its_session(
    ports: FakePorts, auth: AuthService, login: Login
) -> None:
    other = await log_in(auth, EMAIL, PASSWORD, DEVICE)

    for _ in range(2):
        await auth.logout(login.session)

    assert await refuses(auth, login.access_token)
    assert await refuses_to_refresh(auth, login.refresh_token)
    assert [session.id for session in await auth.sessions(login.user)] == [other.session.id]
    assert events(ports) == ["logged_in", "logged_out"]


async def test_sessions_are_listed_most_recently_used_first(
    ports: FakePorts, services: Services, auth: AuthService, login: Login
) -> None:
    await services.accounts.register(UserDraftFactory.build(email="bert@example.com"), PASSWORD)
    await log_in(auth, "bert@example.com", PASSWORD, DEVICE)
    ports.clock.advance(SECOND)
    second = await log_in(auth, EMAIL, PASSWORD, DEVICE)
    ports.clock.advance(SECOND)
    await auth.refresh(login.refresh_token)

    listed = await auth.sessions(login.user)

    assert [session.id for session in listed] == [login.session.id, second.session.id]


async def test_a_session_is_revoked_by_its_id(
    ports: FakePorts, auth: AuthService, login: Login
) -> None:
    other = await log_in(auth, EMAIL, PASSWORD, DEVICE)

    await auth.revoke_session(other.session.id, login.user)

    assert await refuses(auth, other.access_token)
    await auth.authenticate(login.access_token)
    assert events(ports) == ["logged_in", "session_ended"]


async def test_another_user_s_session_and_a_revoked_one_are_not_found(
    services: Services, auth: AuthService, login: Login
) -> None:
    await services.accounts.register(UserDraftFactory.build(email="bert@example.com"), PASSWORD)
    bert = await log_in(auth, "bert@example.com", PASSWORD, DEVICE)
    past = await log_in(auth, EMAIL, PASSWORD, DEVICE)
    await auth.logout(past.session)

    for session_id in (bert.session.id, past.session.id, SessionId(2**63 - 1)):
        with pytest.raises(SessionNotFound, match=f"^Session with id: {session_id} was not found$"):
            await auth.revoke_session(session_id, login.user)
    await auth.authenticate(bert.access_token)


async def test_all_sessions_are_revoked_together(
    ports: FakePorts, auth: AuthService, login: Login
) -> None:
    other = await log_in(auth, EMAIL, PASSWORD, DEVICE)

    await auth.revoke_sessions(login.user)

    assert await refuses(auth, login.access_token)
    assert await refuses(auth, other.access_token)
    assert await auth.sessions(login.user) == []
    assert ports.storage.committed.events[-1].event.details == {"sessions": 2}
