"""Counts failed logins by account, and records them in the audit."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from application.ports.limits import UNKNOWN_USER, Limit, Limits, account_hit
from application.ports.queries import Queries
from application.security_events import SecurityEvents
from domain.sessions import network_of
from domain.users import UserId

_NOBODY = UserId(0)


@dataclass(slots=True, kw_only=True)
class LoginAttempt:
    is_known: bool
    """Whether the account has been logged in to from this network."""
    has_failed: bool = False
    """To be set if somebody did not prove that the account is theirs."""


class LoginFailures:
    def __init__(self, *, queries: Queries, limits: Limits, events: SecurityEvents) -> None:
        self._queries = queries
        self._limits = limits
        self._events = events

    @asynccontextmanager
    async def attempt(
        self, email: str, user_id: UserId | None, ip: str | None
    ) -> AsyncIterator[LoginAttempt]:
        """An attempt to prove that the account with this address is one's own.

        Raises `TooManyRequests` before any work. It counts while it is in progress, so guessing in
        parallel gains nothing, and afterwards if it has failed; the audit then records it. An
        address that nobody has, with the `user_id` None, has the same limits.
        """
        network = network_of(ip)
        subject = f"user:{user_id}" if user_id else UNKNOWN_USER
        is_known = await self._queries.has_logged_in_from(user_id or _NOBODY, network)
        hits = [account_hit(Limit.LOGIN_FAILURES, email, network, subject=subject)]
        if not is_known:
            hits.append(account_hit(Limit.ACCOUNT_FAILURES, email, subject=subject))
        await self._limits.hit(*hits)
        attempt = LoginAttempt(is_known=is_known)
        try:
            yield attempt
        finally:
            if not attempt.has_failed:
                await self._limits.release(*hits)
        if attempt.has_failed:
            # For an address that nobody has too, so that the time tells nothing.
            await self._events.record("login_failed", subject, key=hits[0].key)
