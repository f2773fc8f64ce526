"""Verifies passwords, within the limits on failed logins, and hashes new ones."""

from application.errors import raises
from application.login_failures import LoginFailures
from application.outages import HashingBusy
from application.ports.limits import Limits
from application.ports.passwords import SOMEBODY, PasswordHash, Passwords, Requester
from application.ports.queries import Credentials, Queries
from domain.errors import Unavailable
from domain.passwords import PasswordCandidate, PasswordPolicy, check_password
from domain.sessions import network_of


class PasswordCheck:
    def __init__(
        self,
        *,
        passwords: Passwords,
        queries: Queries,
        failures: LoginFailures,
        policy: PasswordPolicy,
    ) -> None:
        self._passwords = passwords
        self._queries = queries
        self._failures = failures
        self._policy = policy

    @raises(check_password, HashingBusy)
    async def new(self, password: str, email: str, requester: Requester = SOMEBODY) -> PasswordHash:
        """The hash of a password that the user with this address chose.

        Raises `WeakPassword` and `Unavailable`.
        """
        self.check(password, email)
        return await self._passwords.hash(password, requester)

    @raises(check_password)
    def check(self, password: str, email: str) -> None:
        """Raise `WeakPassword` if the user with this address may not choose this password."""
        check_password(PasswordCandidate(password=password, email=email, policy=self._policy))

    @raises(Limits.hit, HashingBusy)
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
        user_id = found.user.id if found else None
        async with self._failures.attempt(email, user_id, ip) as attempt:
            matches = await self._passwords.verify(
                password,
                found.password if found else None,
                Requester(network_of(ip), attempt.is_known or is_logged_in),
            )
            attempt.has_failed = found is None or not matches or not found.user.is_active
        return None if attempt.has_failed else found

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
