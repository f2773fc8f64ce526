"""Sessions of browsers, as ports."""

from typing import Protocol

from domain.sessions import Session
from domain.users import User


class BrowserQueries(Protocol):
    async def session_user(self, cookie_hash: str) -> tuple[Session, User] | None:
        """The session whose cookie has this hash, over or not, and its user."""
        ...


class BrowserSessions(Protocol):
    async def slide(self, session: Session) -> None:
        """Store the time of the last use and the expiry, unless the session was revoked or used
        later than that.
        """
        ...
