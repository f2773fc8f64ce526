"""Checking passwords, as often as the limits on failed logins admit."""

from application.ports.limits import Hit, Limit, Limits, account_hit
from application.ports.passwords import PasswordHash, Passwords
from application.ports.queries import Credentials, Queries
from domain.errors import Unavailable
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
        await self._limits.hit(*uses)
        failed = False
        try:
            matches = await self._passwords.verify(password, known.password if known else None)
            failed = known is None or not matches or not known.user.is_active
            return None if failed else known
        finally:
            if not failed:
                await self._limits.release(*uses)

    async def up_to_date(self, known: PasswordHash, password: str) -> PasswordHash:
        """`known`, or a new hash of `password` in its stead, which was just given and is right."""
        if not self._passwords.is_outdated(known):
            return known
        try:
            return await self._passwords.hash(password)
        except Unavailable:  # then another time
            return known

    async def _uses(self, email: str, known: Credentials | None, network: str) -> list[Hit]:
        uses = [account_hit(Limit.LOGIN_FAILURES, email, network)]
        user_id = known.user.id if known else _NOBODY
        if not await self._queries.has_logged_in_from(user_id, network):
            uses.append(account_hit(Limit.ACCOUNT_FAILURES, email))
        return uses
