"""Challenges: what a right password is worth on an account with a second factor."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256

from domain.errors import Unauthenticated
from domain.users import User, UserId

CHALLENGE_LIFE = timedelta(seconds=300)
TRIES_MAX = 5
"""Tries of a challenge, right or wrong."""


class WrongSecondStep(Unauthenticated):
    """The same for every cause: a wrong, used or expired code or challenge."""

    code = "wrong_code"
    detail = "The code or the challenge is wrong, was used before or has expired"


class SecondFactorRequired(Unauthenticated):
    """The password was right. The challenge and a second factor start a session."""

    detail = "The account has a second factor: prove it as well"

    def __init__(self, challenge: str, methods: Sequence[str]) -> None:
        super().__init__()
        self._challenge, self._methods = challenge, methods

    @property
    def members(self) -> Mapping[str, object]:
        return {
            "challenge": self._challenge,
            "methods": list(self._methods),
            "expires_in": int(CHALLENGE_LIFE.total_seconds()),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginChallenge:
    """A login whose password was right and whose second factor is still to be proved."""

    token_hash: str = field(repr=False)
    user_id: UserId
    password_mark: str = field(repr=False)
    """`mark` of the password's hash at the login."""
    created_at: datetime
    expires_at: datetime

    def is_valid_for(self, user: User, password_hash: str, now: datetime) -> bool:
        """Whether it may still start a session of `user`.

        A change of the password and a deactivation end it, also if the user is active again.
        """
        return (
            self.user_id == user.id
            and now < self.expires_at
            and user.is_active
            and self.created_at >= user.tokens_valid_from
            and self.password_mark == mark(password_hash)
        )


def new_challenge(user: User, token: str, password_hash: str, now: datetime) -> LoginChallenge:
    return LoginChallenge(
        token_hash=challenge_hash(token),
        user_id=user.id,
        password_mark=mark(password_hash),
        created_at=now,
        expires_at=now + CHALLENGE_LIFE,
    )


def mark(password_hash: str) -> str:
    """Tells one hash of a password from another, without the hash."""
    return sha256(f"password {password_hash}".encode()).hexdigest()


def challenge_hash(token: str) -> str:
    """The stored form of a challenge. It has 256 random bits, so a fast hash suffices."""
    return sha256(f"challenge {token}".encode(errors="surrogatepass")).hexdigest()
