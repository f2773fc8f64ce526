"""One-time codes: what a mail carries to show that its reader may act for an account.

A code works for one purpose, once, until it expires. It dies when the password or the address of
its user changes. One that undoes a change of address does not: whoever took an account over could
change either.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256

from domain.addresses import email_key
from domain.errors import Invalid
from domain.users import User, UserId


class InvalidCode(Invalid):
    """One and the same for every cause."""

    detail = "The token is not valid, was used before or has expired"


class Purpose(StrEnum):
    VERIFICATION = "verification"
    """Of the user's address, or of the one that is pending."""
    PASSWORD_RESET = "password_reset"  # noqa: S105  no password
    EMAIL_CHANGE_UNDO = "email_change_undo"
    """Mailed to the address that is, or was, to be replaced."""


LIFETIMES = {
    Purpose.VERIFICATION: timedelta(days=1),
    Purpose.PASSWORD_RESET: timedelta(hours=1),
    Purpose.EMAIL_CHANGE_UNDO: timedelta(hours=72),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OneTimeCode:
    user_id: UserId
    purpose: Purpose
    code_hash: str = field(repr=False)
    email: str
    """The address that it was mailed to."""
    expires_at: datetime

    def is_valid_for(self, user: User, now: datetime) -> bool:
        """Whether whoever knows it may act for `user` now."""
        if self.user_id != user.id or not user.is_active or now >= self.expires_at:
            return False
        undoes = self.purpose is Purpose.EMAIL_CHANGE_UNDO
        return undoes or self.email in (user.email, user.pending_email)


def new_code(user: User, purpose: Purpose, email: str, token: str, since: datetime) -> OneTimeCode:
    """The code that the bearer of `token`, mailed to `email`, proves themselves by. Its life begins
    at `since`.
    """
    return OneTimeCode(
        user_id=user.id,
        purpose=purpose,
        email=email,
        code_hash=code_hash(token, purpose),
        expires_at=since + LIFETIMES[purpose],
    )


def code_hash(token: str, purpose: Purpose) -> str:
    """What is stored of a token. It is 256 random bits, so one fast hash is enough."""
    return sha256(f"{purpose.value} {token}".encode()).hexdigest()


def recipient(purpose: Purpose, email: str, user: User) -> str | None:
    """The address to mail a code to that was asked for `email`, as the user spelt the address.

    None when a code is of no use to `user` any more. A reset goes to their own address alone: that
    a pending one is theirs is not shown yet.
    """
    if not user.is_active:
        return None
    if purpose is Purpose.EMAIL_CHANGE_UNDO:
        return email if email != user.email or user.pending_email else None
    if purpose is Purpose.VERIFICATION and email == user.pending_email:
        return email
    if email_key(email) != email_key(user.email):
        return None  # they have left it meanwhile
    return None if purpose is Purpose.VERIFICATION and user.is_verified else user.email
