"""Checking passwords, as often as the limits on failed logins admit."""

from application.ports.limits import Limit, Limits, Use, use_of_account
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

    async def credentials(self, email: str, password: str, ip: str | None) -> Credentials | None:
        """Those of the active user with this address and password; None if there is none such.

        Raises `TooManyRequests`, before any work on the password. What comes to None counts as a
        failed login, and so does what is under way: many at once get no further than one by one.
        An address that nobody has is the same work and has the same limits.
        """
        known = await self._queries.credentials(email)
        uses = await self._uses(email, known, network_of(ip))
        await self._limits.take(*uses)
        failed = False
        try:
            matches = await self._passwords.verify(password, known.password if known else None)
            failed = known is None or not matches or not known.user.is_active
            return None if failed else known
        finally:
            if not failed:
                await self._limits.give_back(*uses)

    async def _uses(self, email: str, known: Credentials | None, network: str) -> list[Use]:
        uses = [use_of_account(Limit.LOGIN_FAILURES, email, network)]
        user_id = known.user.id if known else _NOBODY
        if not await self._queries.has_logged_in_from(user_id, network):
            uses.append(use_of_account(Limit.ACCOUNT_FAILURES, email))
        return uses
