import pytest

from domain.policies import (
    Visibility,
    is_admin,
    is_moderator,
    may_change,
    may_read,
    may_see_account,
)
from domain.users import Role, User
from tests.factories import UserFactory
from tests.fakes.clock import NOON

OWNER = UserFactory.build()
STRANGER = UserFactory.build()
MODERATOR = UserFactory.build(role=Role.MODERATOR)
ADMIN = UserFactory.build(role=Role.ADMIN)


def test_each_role_includes_the_previous_one() -> None:
    everybody = [OWNER, MODERATOR, ADMIN]

    assert [is_moderator(user) for user in everybody] == [False, True, True]
    assert [is_admin(user) for user in everybody] == [False, False, True]


@pytest.mark.parametrize("user", [OWNER, STRANGER, MODERATOR, ADMIN])
def test_everybody_may_read_public_things(user: User) -> None:
    assert may_read(user, OWNER.id, Visibility.PUBLIC, NOON)


def test_only_owner_and_moderators_may_read_private_things() -> None:
    readers = [OWNER, STRANGER, MODERATOR, ADMIN]

    may = [may_read(user, OWNER.id, Visibility.PRIVATE, NOON) for user in readers]
    assert may == [True, False, True, True]


def test_only_owner_and_moderators_may_change_things() -> None:
    editors = [OWNER, STRANGER, MODERATOR, ADMIN]

    assert [may_change(user, OWNER.id, NOON) for user in editors] == [True, False, True, True]


def test_only_the_user_and_admins_may_see_an_account() -> None:
    viewers = [OWNER, STRANGER, MODERATOR, ADMIN]

    assert [may_see_account(user, OWNER, NOON) for user in viewers] == [True, False, False, True]
