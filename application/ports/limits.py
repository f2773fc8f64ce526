"""Limits on how often something may be done, as a port. The adapter knows the quotas.

A limit is a quota for a window of time. A window begins with the first use in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from application.errors import raises
from application.ports.adapter import Adapter
from domain.addresses import email_key
from domain.errors import TooMany
from domain.sessions import network_of, site_of


class Limit(StrEnum):
    """The limits, and the key that each counts by."""

    LOGINS = "logins"
    """By network."""
    LOGIN_FAILURES = "login-failures"
    """By account and network; a wrong password wherever one is asked for counts."""
    ACCOUNT_FAILURES = "account-failures"
    """By account, over all networks that never logged in to it."""
    TOKEN_GUESSES = "token-guesses"  # noqa: S105  the name of a limit
    """Requests with a personal token that is not valid, by network."""
    REFRESHES = "refreshes"
    """By network."""
    REGISTRATIONS = "registrations"
    """By network."""
    RESETS = "resets"
    """Password resets, by network."""
    ACCOUNT_RESETS = "account-resets"
    """Password resets, by account."""
    WRITES = "writes"
    """By user."""
    SESSION_ENDINGS = "session-endings"
    """By session: ending sessions, and changing the password, which ends them too. These are no
    writes, or a thief with an access token could use up what its owner needs to stop them.
    """
    SECURITY_EVENTS = "security-events"
    """By refusal: how often the same one is recorded in the audit. Once a minute, always."""


@dataclass(frozen=True, slots=True)
class Hit:
    """One use of what `limit` limits, counted by `key`. An adapter keeps no key as it is."""

    limit: Limit
    key: str
    quotas: int = 1
    """How many times the quota of the limit this key may use up."""
    subject: str = field(default="", compare=False)
    """The subject of the audit event when the limit is exhausted: kind and id, as in "user:7"."""


UNKNOWN_USER = "user:unknown"
"""The subject of what happened to an account that there is not. The address is not recorded: people
type passwords where addresses belong.
"""

SITE_QUOTAS = 16
"""Quotas that the networks of one IPv6 site share. A site has 65,536 networks, and may belong to
one customer or to hundreds.
"""


def network_hits(limit: Limit, ip: str | None) -> list[Hit]:
    """A use by network, and for IPv6 by site as well."""
    network = network_of(ip)
    hits = [Hit(limit, network, subject=f"network:{network}")]
    if site := site_of(ip):
        hits.append(Hit(limit, site, quotas=SITE_QUOTAS, subject=f"network:{site}"))
    return hits


def account_hit(limit: Limit, email: str, network: str = "", *, subject: str = UNKNOWN_USER) -> Hit:
    """A use by account, whether or not there is one with this address."""
    return Hit(limit, f"{email_key(email)} {network}", subject=subject)


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitStatus:
    """How much of a limit one key has used."""

    limit: Limit
    quota: int
    window: int
    """Seconds."""
    remaining: int
    """Uses, of the quota."""
    resets_in: int
    """Seconds until the quota starts over, rounded up; at least 1."""


class TooManyRequests(TooMany):
    detail = "This was asked for too often"

    def __init__(self, hit: Hit, status: LimitStatus) -> None:
        super().__init__()
        self.hit = hit
        """The use that was refused."""
        self.status = status
        """The status of its limit."""
        self.retry_after = status.resets_in


class Limits(Adapter, Protocol):
    """Never raises because its store is down: it limits as well as it can without."""

    @raises(TooManyRequests)
    async def hit(self, *hits: Hit) -> Sequence[LimitStatus]:
        """Count all `hits` and return the status of each; an empty sequence if nothing is limited.

        Raises `TooManyRequests` with the status of the first limit that is used up. Then none of
        them is counted.
        """
        ...

    async def release(self, *hits: Hit) -> None:
        """Undo the counting of `hits`, which `hit` has counted."""
        ...
