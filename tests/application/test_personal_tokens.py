"""Personal tokens on fakes: who makes them, what ends them, and when a use is noted."""

from dataclasses import replace
from datetime import timedelta

import pytest

from application.logins import ClientInfo
from application.services import Services
from domain.factors import StaleLogin
from domain.personal_tokens import TOKENS_MAX, TokenDraft, TokenNotFound, TooManyTokens
from domain.policies import AdminsOnly
from domain.scopes import EVERY_SCOPE, TOKEN_SCOPES, Scope, SessionRequired
from domain.sessions import InvalidToken, Session
from domain.users import Role, User
from tests.factories import UserDraftFactory, UserFactory
from tests.fakes.ports import FakePorts
from tests.jobs import do_next
from tests.logins import log_in

PASSWORD = "correct horse battery"
DRAFT = TokenDraft(name="backup", scopes=frozenset({Scope.ACCOUNT_READ}))


async def person(services: Services, role: Role = Role.MEMBER) -> tuple[User, Session]:
    user = await services.accounts.register(UserDraftFactory.build(), PASSWORD, role)
    login = await log_in(services.auth, user.email, PASSWORD, ClientInfo())
    return user, login.session


async def make(services: Services, user: User, session: Session, *scopes: Scope) -> str:
    draft = replace(DRAFT, scopes=frozenset(scopes)) if scopes else DRAFT
    _, text = await services.personal_tokens.make(draft, user, session)
    return text


async def test_a_token_authenticates_its_user_with_its_scopes(services: Services) -> None:
    anna, session = await person(services)

    user, found = await services.auth.authenticate(await make(services, anna, session))

    assert (user.id, user.scopes) == (anna.id, frozenset({Scope.ACCOUNT_READ}))
    assert found is None
    (listed,) = await services.personal_tokens.of(anna)
    assert (listed.name, listed.scopes) == ("backup", (Scope.ACCOUNT_READ,))


async def test_a_stale_session_makes_no_token(ports: FakePorts, services: Services) -> None:
    anna, session = await person(services)
    ports.clock.advance(timedelta(seconds=600))

    with pytest.raises(StaleLogin):
        await make(services, anna, session)


async def test_a_token_makes_no_token(services: Services) -> None:
    anna, session = await person(services)
    text = await make(services, anna, session, *(set(TOKEN_SCOPES) - {Scope.ADMIN}))
    by_token, _ = await services.auth.authenticate(text)

    with pytest.raises(SessionRequired):
        await make(services, by_token, session)


async def test_the_role_at_this_moment_decides_on_the_scope_of_admins(
    ports: FakePorts, services: Services
) -> None:
    root, session = await person(services, Role.ADMIN)
    text = await make(services, root, session, Scope.ADMIN, Scope.ACCOUNT_READ)
    assert (await services.auth.authenticate(text))[0].scopes == {Scope.ADMIN, Scope.ACCOUNT_READ}

    ports.storage.change_user(root.id, role=Role.MEMBER)

    assert (await services.auth.authenticate(text))[0].scopes == {Scope.ACCOUNT_READ}
    with pytest.raises(AdminsOnly):  # although `root` was read before
        await make(services, root, session, Scope.ADMIN)


async def test_there_are_at_most_fifty_and_expired_ones_make_room(
    ports: FakePorts, services: Services
) -> None:
    anna, session = await person(services)
    short = replace(DRAFT, life=timedelta(seconds=60))
    for _ in range(TOKENS_MAX):
        await services.personal_tokens.make(short, anna, session)

    with pytest.raises(TooManyTokens):
        await make(services, anna, session)
    ports.clock.advance(timedelta(seconds=60))
    await make(services, anna, session)


async def test_a_deleted_token_is_refused_and_only_its_owner_deletes_it(
    services: Services,
) -> None:
    (anna, session), (bert, _) = await person(services), await person(services)
    token, text = await services.personal_tokens.make(DRAFT, anna, session)

    with pytest.raises(TokenNotFound):
        await services.personal_tokens.delete(token.id, bert)
    await services.auth.authenticate(text)
    await services.personal_tokens.delete(token.id, anna)
    with pytest.raises(InvalidToken):
        await services.auth.authenticate(text)


async def test_admins_list_and_delete_the_tokens_of_others(services: Services) -> None:
    (anna, session), (root, _) = await person(services), await person(services, Role.ADMIN)
    text = await make(services, anna, session)

    (listed,) = await services.personal_tokens.of_user(anna.id, root)
    assert listed.user_id == anna.id
    for nobody in (anna, UserFactory.build(role=Role.ADMIN, scopes=EVERY_SCOPE - {Scope.ADMIN})):
        with pytest.raises(AdminsOnly):
            await services.personal_tokens.delete_all(anna.id, nobody)
    await services.personal_tokens.delete_all(anna.id, root)

    with pytest.raises(InvalidToken):
        await services.auth.authenticate(text)


async def test_a_token_outlives_logout_and_a_changed_password(services: Services) -> None:
    anna, session = await person(services)
    text = await make(services, anna, session)

    await services.accounts.change_password(
        anna, current=PASSWORD, new="another horse battery", keep=None
    )
    await services.auth.revoke_sessions(anna)

    assert (await services.auth.authenticate(text))[0].id == anna.id


async def test_a_token_stays_dead_after_reactivation(services: Services) -> None:
    (anna, session), (root, _) = await person(services), await person(services, Role.ADMIN)
    text = await make(services, anna, session)

    for is_active in (False, True):
        await services.administration.change(root, anna.id, role=None, is_active=is_active)
        with pytest.raises(InvalidToken):
            await services.auth.authenticate(text)
    assert await services.personal_tokens.of(anna) == []


async def test_a_password_that_the_operator_sets_ends_tokens(services: Services) -> None:
    anna, session = await person(services)
    text = await make(services, anna, session)

    await services.administration.make_admin(
        anna.email, unverified=True, password="another horse battery"
    )

    with pytest.raises(InvalidToken):
        await services.auth.authenticate(text)


async def test_a_use_is_noted_in_the_background_once_an_hour(
    ports: FakePorts, services: Services
) -> None:
    anna, session = await person(services)
    text = await make(services, anna, session)
    first = ports.clock()

    later_on = first + timedelta(hours=1)

    for later, before, noted in ((0, None, first), (3599, first, first), (1, first, later_on)):
        ports.clock.advance(timedelta(seconds=later))
        await services.auth.authenticate(text)
        assert [it.last_used_at for it in await services.personal_tokens.of(anna)] == [before]
        await services.personal_tokens.note_uses()
        assert [it.last_used_at for it in await services.personal_tokens.of(anna)] == [noted]


async def test_making_and_deleting_are_audited_and_mailed(
    ports: FakePorts, services: Services
) -> None:
    anna, session = await person(services)
    token, text = await services.personal_tokens.make(DRAFT, anna, session)
    await services.personal_tokens.delete(token.id, anna)

    events = {entry.event.name: entry.event for entry in ports.storage.committed.events}
    assert events["token_made"].subject == events["token_deleted"].subject == f"token:{token.id}"
    assert text not in repr(ports.storage.committed.events)
    while await do_next(services):
        pass
    subjects = [mail.subject for mail in ports.mailer.sent]
    assert len([subject for subject in subjects if "token" in subject.lower()]) == 2
