"""Policies: who may do what, as functions without side effects.

Every policy takes `now`, so that a policy which comes to depend on time changes no caller.
"""

from datetime import datetime
from enum import StrEnum

from domain.errors import NotAllowed
from domain.scopes import TOKEN_SCOPES, Scope
from domain.users import Role, User, UserId


class AdminsOnly(NotAllowed):
    detail = "Only admins may do this"


class Visibility(StrEnum):
    """Who can see something at a given time."""

    PUBLIC = "public"
    """Everybody."""
    PRIVATE = "private"
    """Its owner and moderators. For everybody else it does not exist."""


def is_moderator(user: User) -> bool:
    return user.role in (Role.MODERATOR, Role.ADMIN)


def is_admin(user: User) -> bool:
    """Whether the user acts as an admin: with a token that lacks the scope, an admin does not."""
    return user.role is Role.ADMIN and Scope.ADMIN in user.scopes


def may_read(reader: User, owner_id: UserId, visibility: Visibility, now: datetime) -> bool:
    """Whether `reader` may read something of `owner_id` that has this `visibility` at `now`."""
    return visibility is Visibility.PUBLIC or reader.id == owner_id or is_moderator(reader)


def may_change(editor: User, owner_id: UserId, now: datetime) -> bool:
    return editor.id == owner_id or is_moderator(editor)


def may_see_account(viewer: User, subject: User, now: datetime) -> bool:
    """Whether `viewer` may read the address, role and state of the account of `subject`."""
    return viewer.id == subject.id or is_admin(viewer)


_TOKEN_SCOPES = frozenset(TOKEN_SCOPES)


def grantable(user: User) -> frozenset[Scope]:
    """The scopes that a token of `user` can have at this moment."""
    return _TOKEN_SCOPES if user.role is Role.ADMIN else _TOKEN_SCOPES - {Scope.ADMIN}
