"""Verifies passwords, within the limits on failed logins, and hashes new ones."""

from application.ports.limits import UNKNOWN_USER, Limit, Limits, account_hit
from application.ports.passwords import SOMEBODY, PasswordHash, Passwords, Requester
from application.ports.queries import Credentials, Queries
from application.security_events import SecurityEvents
from domain.errors import Unavailable
from domain.passwords import PasswordCandidate, PasswordPolicy, check_password
from domain.sessions import network_of
from domain.users import UserId

_NOBODY = UserId(0)


class PasswordCheck:
    def __init__(
        self,
        *,
        passwords: Passwords,
        queries: Queries,
        limits: Limits,
        events: SecurityEvents,
        policy: PasswordPolicy,
    ) -> None:
        self._passwords = passwords
        self._queries = queries
        self._limits = limits
        self._events = events
        self._policy = policy

    async def new(self, password: str, email: str, requester: Requester = SOMEBODY) -> PasswordHash:
        """The hash of a password that the user with this address chose.

        Raises `WeakPassword` and `Unavailable`.
        """
        self.check(password, email)
        return await self._passwords.hash(password, requester)

    def check(self, password: str, email: str) -> None:
        """Raise `WeakPassword` if the user with this address may not choose this password."""
        check_password(PasswordCandidate(password=password, email=email, policy=self._policy))

    async def credentials(
        self, email: str, password: str, ip: str | None, *, is_logged_in: bool = False
    ) -> Credentials | None:
        """The credentials of the active user with this address and password, or None.

        Raises `TooManyRequests`, before any work on the password, and `Unavailable`. Returning
        None counts as a failed login, and the audit records it. Attempts in progress count too, so
        guessing in parallel gains nothing. An address that nobody has costs the same work and has
        the same limits.

        `is_logged_in`: whether a session of this user asks. The work then takes a place in the
        queue that is kept from strangers.
        """
        found = await self._queries.credentials(email)
        network = network_of(ip)
        user_id = found.user.id if found else _NOBODY
        subject = f"user:{user_id}" if found else UNKNOWN_USER
        is_known = await self._queries.has_logged_in_from(user_id, network)
        hits = [account_hit(Limit.LOGIN_FAILURES, email, network, subject=subject)]
        if not is_known:
            hits.append(account_hit(Limit.ACCOUNT_FAILURES, email, subject=subject))
        await self._limits.hit(*hits)
        failed = False
        try:
            matches = await self._passwords.verify(
                password,
                found.password if found else None,
                Requester(network, is_known or is_logged_in),
            )
            failed = found is None or not matches or not found.user.is_active
        finally:
            if not failed:
                await self._limits.release(*hits)
        if failed:
            # For an address that nobody has too, so that the time tells nothing.
            await self._events.record("login_failed", subject, key=hits[0].key)
        return None if failed else found

    async def up_to_date(
        self, current: PasswordHash, password: str, ip: str | None
    ) -> PasswordHash:
        """`current`, or a new hash of `password` when `current` is outdated.

        `password` has just been verified against `current`. A hash that cannot be made now stays.
        """
        if not self._passwords.is_outdated(current):
            return current
        try:
            return await self._passwords.hash(password, Requester(network_of(ip), is_known=True))
        except Unavailable:
            return current
