"""Second factors: their codes, when a session is fresh, and who must have a factor."""

from base64 import b32encode
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256

from domain.errors import Conflict, NotAllowed, RuleBroken, Unauthenticated
from domain.sessions import Session
from domain.users import Role, User, UserId

FRESH_FOR = timedelta(seconds=600)

RECOVERY_CODES = 10
"""How many recovery codes a user gets at a time."""
RECOVERY_CODE_BYTES = 15
"""Random bytes of a recovery code: 120 bits, so a fast hash suffices (ASVS 5.0, 6.5.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorPolicy:
    """The settings of strong login."""

    fresh_for: timedelta | None = FRESH_FOR
    """How long a proof keeps a session fresh. None: strong login is off, and nothing asks for a
    fresh session.
    """
    required_of: frozenset[Role] = frozenset()
    """Who must have a second factor."""

    @property
    def is_on(self) -> bool:
        return self.fresh_for is not None


class WrongCode(RuleBroken):
    """The same for every cause, so that the response does not reveal the cause."""

    detail = "The code is wrong, was used before or has expired"


class TotpExists(Conflict):
    detail = "The account has an authenticator app: remove it first"


class NoSecondFactor(Conflict):
    detail = "The account has neither an authenticator app nor a passkey"


class SecondFactorNeeded(NotAllowed):
    detail = "This account must have a second factor: add an authenticator app or a passkey first"


class StaleLogin(Unauthenticated):
    """The session is valid, but not fresh (RFC 9470, section 3)."""

    detail = "Prove again who you are, with a second factor if the account has one"

    def __init__(self, fresh_for: timedelta) -> None:
        super().__init__()
        self.max_age = int(fresh_for.total_seconds())
        """Seconds within which the session must have been proved."""


def is_fresh(session: Session, user: User, now: datetime, fresh_for: timedelta) -> bool:
    """Whether the session was proved within `fresh_for`.

    On an account with a second factor only a proof by a factor counts, and only since the account
    has had one: what was proved before was proved to an account with other factors.
    """
    proved_at: datetime | None = session.proved_at
    if user.second_factor_since is not None:
        proved_at = session.factor_proved_at
        if proved_at is None or proved_at < user.second_factor_since:
            return False
    return proved_at is not None and now - proved_at < fresh_for


def must_be_fresh(session: Session, user: User, now: datetime, policy: FactorPolicy) -> None:
    """Raises `StaleLogin` unless the session of `user` is fresh at `now`."""
    fresh_for = policy.fresh_for
    if fresh_for is not None and not is_fresh(session, user, now, fresh_for):
        raise StaleLogin(fresh_for)


def must_have_what_is_required(user: User, policy: FactorPolicy) -> None:
    """Raises `SecondFactorNeeded` if `user` has no second factor, and the policy asks for one."""
    if user.role in policy.required_of and not user.second_factor:
        raise SecondFactorNeeded


@dataclass(slots=True, kw_only=True, eq=False)
class Totp:
    """An authenticator app (RFC 6238). It is in force once a code of it was confirmed."""

    user_id: UserId
    sealed_secret: str = field(repr=False)
    """Sealed in the `totp_context` of the user."""
    created_at: datetime
    confirmed_at: datetime | None
    last_step: int
    """The step of the last code that was used. No code of it or of an earlier one is accepted."""

    def can_be_confirmed_for(self, user: User) -> bool:
        """Whether `user` had today's factors when it was started. Before the account had one, a
        password alone was enough to start it.
        """
        since = user.second_factor_since
        return since is None or self.created_at >= since


def totp_context(user_id: UserId) -> str:
    return f"totp of user:{user_id}"


def recovery_code(random: bytes) -> str:
    """A code for people, in groups of four, from `RECOVERY_CODE_BYTES` random bytes."""
    text = b32encode(random).decode().lower()
    return "-".join(text[at : at + 4] for at in range(0, len(text), 4))


def recovery_code_hash(user_id: UserId, code: str) -> str:
    """The stored form of a recovery code, of which case, spaces and hyphens do not matter."""
    text = "".join(code.lower().replace("-", "").split())
    return sha256(f"{user_id} {text}".encode(errors="surrogatepass")).hexdigest()


def totp_code(code: str) -> str | None:
    """The digits of `code`; None if it does not look like the code of an app."""
    digits = "".join(code.split())
    return digits if len(digits) == 6 and digits.isascii() and digits.isdigit() else None
