"""Second factors: when a session is fresh, and who must have a factor."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from domain.errors import Unauthenticated
from domain.sessions import Session
from domain.users import User

FRESH_FOR = timedelta(seconds=600)


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorPolicy:
    """The settings of strong login."""

    fresh_for: timedelta | None = FRESH_FOR
    """How long a proof keeps a session fresh. None: strong login is off, and nothing asks for a
    fresh session.
    """


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
