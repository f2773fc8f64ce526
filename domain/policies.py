"""Who may do what to whom: one function for each question, without side effects.

Every policy takes `now`, so that one that depends on time changes none of its callers.
"""

from datetime import datetime
from enum import StrEnum

from domain.errors import NotAllowed
from domain.users import Role, User, UserId


class AdminsOnly(NotAllowed):
    detail = "Only admins may do this"


class Visibility(StrEnum):
    """Who something exists for, at one moment."""

    PUBLIC = "public"
    """For everybody."""
    PRIVATE = "private"
    """For its owner and moderators; to everybody else it is not found."""


def is_moderator(user: User) -> bool:
    return user.role in (Role.MODERATOR, Role.ADMIN)


def is_admin(user: User) -> bool:
    return user.role is Role.ADMIN


def may_read(reader: User, owner_id: UserId, visibility: Visibility, now: datetime) -> bool:
    """`visibility` is the one that the owner's thing has at `now`."""
    return visibility is Visibility.PUBLIC or reader.id == owner_id or is_moderator(reader)


def may_change(editor: User, owner_id: UserId, now: datetime) -> bool:
    return editor.id == owner_id or is_moderator(editor)


def may_see_account(viewer: User, subject: User, now: datetime) -> bool:
    """Address, role and state of an account are for its user and admins."""
    return viewer.id == subject.id or is_admin(viewer)
