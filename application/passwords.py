"""Checking passwords, as often as the limits on failed logins admit."""

from application.ports.limits import Limit, Limits, use_of_account
from application.ports.passwords import Passwords
from application.ports.queries import Credentials, Queries
from domain.sessions import network_of
from domain.users import UserId

_NOBODY = UserId(0)


class PasswordCheck:
    def __init__(self, *, passwords: Passwords, queries: Queries, limits: Limits) -> None:
        self._passwords = passwords
        self._queries = queries
        self._limits = limits

    async def passes(
        self, email: str, password: str, known: Credentials | None, ip: str | None
    ) -> bool:
        """Whether `known`, who has this address, is an active user with this password.

        Raises `TooManyRequests`, before any work on the password. What does not pass counts as a
        failed login, and so does what is under way: many at once get no further. It is all the
        same work, and the same limits, for an address that nobody has.
        """
        network = network_of(ip)
        uses = [use_of_account(Limit.LOGIN_FAILURES, email, network)]
        user_id = known.user.id if known else _NOBODY
        if not await self._queries.has_logged_in_from(user_id, network):
            uses.append(use_of_account(Limit.ACCOUNT_FAILURES, email))
        await self._limits.take(*uses)
        failed = False
        try:
            matches = await self._passwords.verify(password, known.password if known else None)
            failed = known is None or not matches or not known.user.is_active
            return not failed
        finally:
            if not failed:
                await self._limits.give_back(*uses)
