"""One-time codes: tokens in mails, which prove that somebody reads the mail of an address.

A code works once, for one purpose, until it expires. A change of the user's password or address
invalidates it, except a code that undoes a change of address: an attacker who took over the account
could change either.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256

from domain.addresses import email_key
from domain.errors import Invalid
from domain.users import User, UserId


class InvalidCode(Invalid):
    """The same for every cause, so that the response does not reveal the cause."""

    detail = "The token is not valid, was used before or has expired"


class Purpose(StrEnum):
    VERIFICATION = "verification"
    """Verifies the user's address, or their pending address."""
    PASSWORD_RESET = "password_reset"  # noqa: S105  no password
    EMAIL_CHANGE_UNDO = "email_change_undo"
    """Keeps or restores the old address. Mailed to it when a change of address is requested."""


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
    """The address that the code was mailed to."""
    expires_at: datetime

    def is_valid_for(self, user: User, now: datetime) -> bool:
        """Whether the code may be used for `user` at `now`."""
        if self.user_id != user.id or not user.is_active or now >= self.expires_at:
            return False
        undoes = self.purpose is Purpose.EMAIL_CHANGE_UNDO
        return undoes or self.email in (user.email, user.pending_email)


def new_code(user: User, purpose: Purpose, email: str, token: str, since: datetime) -> OneTimeCode:
    """The code for `token`, which is mailed to `email`. Its lifetime starts at `since`."""
    return OneTimeCode(
        user_id=user.id,
        purpose=purpose,
        email=email,
        code_hash=code_hash(token, purpose),
        expires_at=since + LIFETIMES[purpose],
    )


def code_hash(token: str, purpose: Purpose) -> str:
    """The stored form of a token. A token has 256 random bits, so a fast hash suffices."""
    return sha256(f"{purpose.value} {token}".encode()).hexdigest()


def recipient(purpose: Purpose, email: str, user: User) -> str | None:
    """The address to send a code to that was requested for `email`, as the user spelled it.

    None if `user` cannot use such a code now. A password reset is only sent to the user's own
    address, never to a pending one: a pending address may be somebody else's.
    """
    if not user.is_active:
        return None
    if purpose is Purpose.EMAIL_CHANGE_UNDO:
        return email if email != user.email or user.pending_email else None
    if purpose is Purpose.VERIFICATION and email == user.pending_email:
        return email
    if email_key(email) != email_key(user.email):
        return None  # the user has changed the address in the meantime
    return None if purpose is Purpose.VERIFICATION and user.is_verified else user.email
