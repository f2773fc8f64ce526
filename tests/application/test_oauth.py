"""Introspection and revocation on fakes: every kind of token, in every state."""

from datetime import timedelta

import pytest

from application.logins import ClientInfo, Login
from application.oauth import TokenService
from application.services import Services
from domain.personal_tokens import TokenDraft, token_of
from domain.policies import AdminsOnly
from domain.scopes import EVERY_SCOPE, Scope
from domain.sessions import InvalidToken
from domain.users import Role, User
from tests import logins
from tests.factories import UserDraftFactory, UserFactory
from tests.fakes.ports import FakePorts

PASSWORD = "correct horse battery"
ROOT = UserFactory.build(role=Role.ADMIN)
SECOND = timedelta(seconds=1)
MEMBERS = (
    Scope.ACCOUNT_READ,
    Scope.ACCOUNT_WRITE,
    Scope.POSTS_READ,  # posts only
    Scope.POSTS_WRITE,  # posts only
)


async def log_in(services: Services, role: Role = Role.MEMBER) -> tuple[User, Login]:
    user = await services.accounts.register(UserDraftFactory.build(), PASSWORD, role)
    return user, await logins.log_in(services.auth, user.email, PASSWORD, ClientInfo())


async def personal(services: Services, user: User, login: Login, *scopes: Scope) -> str:
    draft = TokenDraft(name="script", scopes=frozenset(scopes))
    _, text = await services.personal_tokens.make(draft, user, login.session)
    return text


async def is_active(services: Services, token: str) -> bool:
    return await services.of(TokenService).introspect(token, ROOT) is not None


async def test_each_kind_of_token_is_described(ports: FakePorts, services: Services) -> None:
    anna, login = await log_in(services)
    now = ports.clock()

    for token, scopes, life, is_refresh in (
        (login.access_token, MEMBERS, timedelta(hours=1), False),
        (login.refresh_token, MEMBERS, timedelta(days=30), True),
        (
            await personal(services, anna, login, Scope.ACCOUNT_READ),
            (Scope.ACCOUNT_READ,),
            timedelta(days=90),
            False,
        ),
    ):
        status = await services.of(TokenService).introspect(token, ROOT)
        assert status
        assert status.user.id == anna.id
        assert (status.scopes, status.is_refresh_token) == (scopes, is_refresh)
        # A token's claims are whole seconds.
        assert abs(status.issued_at - now) < SECOND
        assert abs(status.expires_at - now - life) < SECOND


async def test_the_scope_of_admins_follows_the_role(ports: FakePorts, services: Services) -> None:
    root, login = await log_in(services, Role.ADMIN)
    tokens = [login.access_token, await personal(services, root, login, Scope.ADMIN)]

    for role, expected in ((Role.ADMIN, True), (Role.MEMBER, False)):
        ports.storage.change_user(root.id, role=role)
        for token in tokens:
            status = await services.of(TokenService).introspect(token, ROOT)
            assert status
            assert (Scope.ADMIN in status.scopes) is expected


async def test_only_an_admin_with_the_scope_introspects(services: Services) -> None:
    for nobody in (
        UserFactory.build(),
        UserFactory.build(role=Role.ADMIN, scopes=EVERY_SCOPE - {Scope.ADMIN}),
    ):
        with pytest.raises(AdminsOnly):
            await services.of(TokenService).introspect("x", nobody)


@pytest.mark.parametrize("token", ["", "x", "gp_x", token_of(7), "x" * 43])
async def test_a_token_that_there_is_not_is_inactive(services: Services, token: str) -> None:
    assert not await is_active(services, token)
    await services.of(TokenService).revoke(token)


async def test_a_rotated_refresh_token_is_inactive_and_ends_nothing(
    ports: FakePorts, services: Services
) -> None:
    _, login = await log_in(services)
    refreshed = await services.auth.refresh(login.refresh_token)
    ports.clock.advance(timedelta(minutes=1))

    assert not await is_active(services, login.refresh_token)
    assert await is_active(services, refreshed.refresh_token)
    await services.auth.authenticate(refreshed.access_token)


async def test_a_deactivated_user_s_tokens_are_inactive(
    ports: FakePorts, services: Services
) -> None:
    anna, login = await log_in(services)
    tokens = [login.access_token, login.refresh_token]
    tokens.append(await personal(services, anna, login, Scope.ACCOUNT_READ))

    ports.storage.change_user(anna.id, is_active=False)

    assert [await is_active(services, token) for token in tokens] == [False] * 3


@pytest.mark.parametrize("which", ["access_token", "refresh_token"])
async def test_revoking_a_session_s_token_ends_the_session_alone(
    services: Services, which: str
) -> None:
    anna, login = await log_in(services)
    other = await logins.log_in(services.auth, anna.email, PASSWORD, ClientInfo())
    script = await personal(services, anna, login, Scope.ACCOUNT_READ)

    for _ in range(2):
        await services.of(TokenService).revoke(getattr(login, which))

    with pytest.raises(InvalidToken):
        await services.auth.authenticate(login.access_token)
    assert not await is_active(services, login.refresh_token)
    await services.auth.authenticate(other.access_token)
    await services.auth.authenticate(script)


async def test_revoking_a_personal_token_ends_that_token_alone(
    ports: FakePorts, services: Services
) -> None:
    anna, login = await log_in(services)
    one, two = [await personal(services, anna, login, Scope.ACCOUNT_READ) for _ in range(2)]

    for _ in range(2):
        await services.of(TokenService).revoke(one)

    assert [await is_active(services, token) for token in (one, two)] == [False, True]
    await services.auth.authenticate(login.access_token)
    names = [entry.event.name for entry in ports.storage.committed.events]
    assert names.count("token_deleted") == 1
