"""Who may do what to whom: one function a question, no side effects."""

from domain.errors import NotAllowed
from domain.users import Role, User, UserId


class AdminsOnly(NotAllowed):
    detail = "Only admins may do this"


def is_moderator(user: User) -> bool:
    return user.role in (Role.MODERATOR, Role.ADMIN)


def is_admin(user: User) -> bool:
    return user.role is Role.ADMIN


def may_read_post(reader: User, owner_id: UserId, *, published: bool) -> bool:
    """Drafts exist for their owner and moderators alone."""
    return published or reader.id == owner_id or is_moderator(reader)


def may_change_post(editor: User, owner_id: UserId) -> bool:
    return editor.id == owner_id or is_moderator(editor)


def may_see_account(viewer: User, subject: User) -> bool:
    """Address, role and state of an account are for its user and admins."""
    return viewer.id == subject.id or is_admin(viewer)
