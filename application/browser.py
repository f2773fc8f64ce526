"""The browser's door: whose session a cookie is."""

from contextlib import suppress

from application.errors import raises
from application.ports.browser import BrowserQueries, BrowserSessions
from application.ports.storage import UnitOfWork
from application.services import Ports
from domain.errors import Unavailable
from domain.sessions import InvalidToken, Session, cookie_hash
from domain.users import User


class BrowserService:
    def __init__(self, ports: Ports) -> None:
        self._queries = ports.queries
        self._storage = ports.storage
        self._clock = ports.clock
        self._lifetimes = ports.lifetimes

    @raises(InvalidToken)
    async def authenticate(self, cookie: str) -> tuple[User, Session, bool]:
        """The user of the browser that has this cookie, its session, as stored at this moment, and
        whether the session was extended, because it had not been used for a while.

        Raises `InvalidToken`, the same for every cause, as `AuthService.authenticate` does.
        """
        now = self._clock()
        found = await self._queries.of(BrowserQueries).session_user(cookie_hash(cookie))
        if found is None:
            raise InvalidToken
        session, user = found
        if not session.is_valid_for(user, issued_at=session.created_at, now=now):
            raise InvalidToken
        slides = session.slide(lifetimes=self._lifetimes, now=now)
        if slides:
            # A request that reads is answered even if nothing can be changed at the moment.
            with suppress(Unavailable):
                await self._storage.run(lambda uow: _slide(uow, session))
        return user, session, slides


async def _slide(uow: UnitOfWork, session: Session) -> None:
    await uow.of(BrowserSessions).slide(session)
    await uow.commit()
