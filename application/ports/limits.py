"""Limits on how often something may be done, as a port. How often it is, is the adapter's setting.

A limit is a quota for a window of time, which begins with the first use in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from application.ports.adapter import Adapter
from domain.addresses import email_key
from domain.errors import TooMany


class Limit(StrEnum):
    """What is limited, and what its uses are counted by."""

    LOGINS = "logins"
    """By network."""
    LOGIN_FAILURES = "login-failures"
    """By account and network; a wrong password wherever one is asked for counts."""
    ACCOUNT_FAILURES = "account-failures"
    """By account, over all networks that never logged in to it."""
    REFRESHES = "refreshes"
    """By network."""
    REGISTRATIONS = "registrations"
    """By network."""
    RESETS = "resets"
    """Of passwords, by network."""
    ACCOUNT_RESETS = "account-resets"
    """Of passwords, by account."""
    WRITES = "writes"
    """By user."""
    SESSION_ENDINGS = "session-endings"
    """By session: ending sessions, and changing the password, which ends them too. These are no
    writes, or a thief with an access token could use up what its owner needs to stop them.
    """


@dataclass(frozen=True, slots=True)
class Hit:
    """One use of what `limit` limits, by whoever `key` stands for: the adapter's own secret."""

    limit: Limit
    key: str


def account_hit(limit: Limit, email: str, network: str = "") -> Hit:
    """A use by account, whether or not there is one with this address."""
    return Hit(limit, f"{email_key(email)} {network}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitStatus:
    """How a limit stands for one key."""

    limit: Limit
    quota: int
    window: int
    """Seconds."""
    remaining: int
    """Uses, of the quota."""
    resets_in: int
    """Seconds until the whole quota is there again, or one more at the most."""


class TooManyRequests(TooMany):
    detail = "This was asked for too often"

    def __init__(self, standing: LimitStatus) -> None:
        super().__init__()
        self.standing = standing
        """Of the limit that is used up."""
        self.retry_after = standing.resets_in


class Limits(Adapter, Protocol):
    """Never raises because of the limits' own store: it limits as well as it can."""

    async def hit(self, *uses: Hit) -> Sequence[LimitStatus]:
        """Count all `uses`, and tell how each limit stands then; nothing if there are no limits.

        Raises `TooManyRequests` for the first limit that is used up; then none is counted.
        """
        ...

    async def release(self, *uses: Hit) -> None:
        """Count `uses`, which were taken, no longer."""
        ...
