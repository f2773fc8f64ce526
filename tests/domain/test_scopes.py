import pytest

from domain.policies import is_admin, may_see_account
from domain.scopes import (
    EVERY_SCOPE,
    TOKEN_SCOPES,
    InsufficientScope,
    Scope,
    SessionRequired,
    refusal,
)
from domain.users import Role
from tests.factories import UserFactory
from tests.fakes.clock import NOON


def test_a_session_has_every_scope_and_no_token_can_have_the_session_s_own() -> None:
    assert set(TOKEN_SCOPES) == EVERY_SCOPE - {Scope.SESSION_ONLY}
    assert UserFactory.build().scopes == EVERY_SCOPE


@pytest.mark.parametrize("scope", TOKEN_SCOPES)
def test_the_refusal_names_the_missing_scope(scope: Scope) -> None:
    error = refusal(scope)

    assert isinstance(error, InsufficientScope)
    assert error.scope is scope
    assert scope.value in error.detail
    assert scope.description


def test_what_only_a_session_may_do_is_refused_without_naming_a_scope() -> None:
    assert isinstance(refusal(Scope.SESSION_ONLY), SessionRequired)


def test_an_admin_without_the_scope_does_not_act_as_one() -> None:
    everything_else = UserFactory.build(role=Role.ADMIN, scopes=EVERY_SCOPE - {Scope.ADMIN})
    admin = UserFactory.build(role=Role.ADMIN, scopes=frozenset({Scope.ADMIN}))

    assert (is_admin(everything_else), is_admin(admin)) == (False, True)
    assert not may_see_account(everything_else, UserFactory.build(), NOON)
