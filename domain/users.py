"""Users, their roles, and the rules of registration."""

import unicodedata
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import NewType

from domain.addresses import normal_address
from domain.errors import Conflict, NotFound, RuleBroken
from domain.fields import TRANSIENT
from domain.scopes import EVERY_SCOPE, Scope

NAME_MAX = 100

UserId = NewType("UserId", int)


class Role(StrEnum):
    """What a user may do to the things of others. Each role includes the previous one."""

    MEMBER = "member"
    MODERATOR = "moderator"
    ADMIN = "admin"


class UserNotFound(NotFound):
    def __init__(self, user_id: int) -> None:
        super().__init__(f"User with id: {user_id} was not found")


class EmailTaken(Conflict):
    detail = "An account with this e-mail address exists already"


class LastAdmin(Conflict):
    detail = "This is the last admin: there must be another one first"


class BadName(RuleBroken):
    detail = f"name must have 1 to {NAME_MAX} characters and no control characters"


class UnverifiedAddress(Conflict):
    detail = "Nobody has verified this address: the account may be a stranger's"


class Deactivated(Conflict):
    detail = "This account is deactivated"


def an_admin_is_left(leaving: UserId, admins: Collection[UserId]) -> None:
    """Raise `LastAdmin` if `leaving` is the only one of the active `admins`."""
    if set(admins) == {leaving}:
        raise LastAdmin


@dataclass(slots=True, kw_only=True, eq=False)
class User:
    """A registered user, whole; the password's hash is not part of it and never travels with it."""

    id: UserId
    email: str
    pending_email: str | None = None
    """The address that becomes `email` when a code mailed to it is used."""
    name: str | None
    role: Role
    is_active: bool
    is_verified: bool
    created_at: datetime
    tokens_valid_from: datetime
    """Tokens that were issued earlier are invalid."""
    second_factor_since: datetime | None = None
    """Since when the account has had a second factor or a passkey; None: it has none."""
    scopes: frozenset[Scope] = field(default=EVERY_SCOPE, metadata=TRANSIENT)
    """What the credential of this request lets the user do. It is not stored: a user who did not
    authenticate with a personal token has every scope.
    """

    @property
    def second_factor(self) -> bool:
        """Whether a password alone logs nobody in."""
        return self.second_factor_since is not None

    def accepts_tokens_from(self, issued_at: datetime) -> bool:
        """Whether a token that was issued at this time may authenticate the user."""
        # Times in tokens are whole seconds (RFC 7519, section 2, NumericDate).
        return self.is_active and issued_at >= self.tokens_valid_from.replace(microsecond=0)

    def edit(self, change: "ProfileChange") -> None:
        """A new address is pending until `confirm_email`. Raises `BadName` or `BadEmail`."""
        if change.renames:
            name_is_sound(UserDraft(email=self.email, name=change.name))
            self.name = _trimmed(change.name)
        if change.email is not None:
            email = normal_address(change.email)
            self.pending_email = None if email == self.email else email

    def confirm_email(self, email: str) -> None:
        """Record that the user reads the mail of `email`: verify it, or adopt a pending one."""
        if email == self.pending_email:
            self.email, self.pending_email = email, None
        if email == self.email:
            self.is_verified = True

    def restore_email(self, email: str) -> None:
        """Undo a change of address: `email` is the one from before the change."""
        self.email, self.pending_email, self.is_verified = email, None, True

    def promote(self, *, unverified: bool) -> None:
        """Make the user an admin, on behalf of the operator. Raises `Deactivated`.

        Anybody can register somebody else's address. So unless `unverified` is set, this raises
        `UnverifiedAddress` if the address is not verified and the user is not an admin yet.
        """
        if not self.is_active:
            raise Deactivated
        if not (self.is_verified or unverified or self.role is Role.ADMIN):
            raise UnverifiedAddress
        self.role = Role.ADMIN

    def administer(
        self,
        *,
        role: Role | None,
        is_active: bool | None,
        admins: Collection[UserId],
        now: datetime,
    ) -> None:
        """Change role and state; None keeps the current one. Deactivation revokes all tokens.

        `admins` are the active admins. Raises `LastAdmin` if none of them would be left.
        """
        if role is not None:
            self.role = role
        if is_active is False and self.is_active:
            self.tokens_valid_from = now
        if is_active is not None:
            self.is_active = is_active
        if self.role is not Role.ADMIN or not self.is_active:
            an_admin_is_left(self.id, admins)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserDraft:
    """The input of a registration."""

    email: str
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileChange:
    """A change of a user's own account. The address None keeps the current address, and the current
    address cancels a pending one.
    """

    email: str | None = None
    name: str | None = None
    renames: bool = False
    """Whether to change the name; the name None then removes it."""


RegistrationRule = Callable[[UserDraft], None]


# Control characters, surrogates, line and paragraph separators. Other unprintable characters are
# allowed: names are written with the ideographic space and with (non-)joiners.
_CONTROLS = {"Cc", "Cs", "Zl", "Zp"}


def name_is_sound(draft: UserDraft) -> None:
    if draft.name is None:
        return
    controls = any(unicodedata.category(character) in _CONTROLS for character in draft.name)
    if controls or not 1 <= len(draft.name.strip()) <= NAME_MAX:
        raise BadName


def _trimmed(name: str | None) -> str | None:
    return None if name is None else name.strip()


REGISTRATION_RULES: tuple[RegistrationRule, ...] = (name_is_sound,)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewUser:
    """A registration that passed the rules, ready to be stored."""

    email: str
    name: str | None
    role: Role
    created_at: datetime

    def stored_as(self, user_id: int) -> User:
        """The user that it becomes when it is stored under this id."""
        return User(
            id=UserId(user_id),
            email=self.email,
            name=self.name,
            role=self.role,
            is_active=True,
            is_verified=False,
            created_at=self.created_at,
            tokens_valid_from=self.created_at,
        )


def register(draft: UserDraft, *, now: datetime, role: Role = Role.MEMBER) -> NewUser:
    """The user that `draft` asks for. `REGISTRATION_RULES` see the address in its normal form.

    Raises `BadEmail`, or the error of the first rule that the draft breaks.
    """
    draft = replace(draft, email=normal_address(draft.email))
    for rule in REGISTRATION_RULES:
        rule(draft)
    return NewUser(email=draft.email, name=_trimmed(draft.name), role=role, created_at=now)
