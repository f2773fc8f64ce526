"""One-time codes: what a mail carries to show that its reader may act for an account.

A code is good for one purpose, once, until it expires, and no longer than password and address of
its user stay what they are.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256

from domain.errors import Invalid
from domain.users import User, UserId


class InvalidCode(Invalid):
    """One and the same for every cause."""

    detail = "The token is not valid, was used before or has expired"


class Purpose(StrEnum):
    VERIFICATION = "verification"
    PASSWORD_RESET = "password_reset"  # noqa: S105  no password


LIFETIMES = {
    Purpose.VERIFICATION: timedelta(days=1),
    Purpose.PASSWORD_RESET: timedelta(hours=1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OneTimeCode:
    user_id: UserId
    purpose: Purpose
    code_hash: str = field(repr=False)
    expires_at: datetime

    def is_valid_for(self, user: User, now: datetime) -> bool:
        """Whether whoever knows it may act for `user` now."""
        return self.user_id == user.id and user.is_active and now < self.expires_at


def new_code(user: User, purpose: Purpose, token: str, now: datetime) -> OneTimeCode:
    """The code that the bearer of `token` will prove themselves by."""
    return OneTimeCode(
        user_id=user.id,
        purpose=purpose,
        code_hash=code_hash(token, purpose),
        expires_at=now + LIFETIMES[purpose],
    )


def code_hash(token: str, purpose: Purpose) -> str:
    """What is stored of a token. It is 256 random bits, so one fast hash is enough."""
    return sha256(f"{purpose.value} {token}".encode()).hexdigest()


def may_be_mailed(purpose: Purpose, user: User) -> bool:
    """Whether there is any use in a code for `user`."""
    return user.is_active and not (purpose is Purpose.VERIFICATION and user.is_verified)
