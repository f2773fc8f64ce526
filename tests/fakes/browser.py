from copy import copy

from application.ports.browser import BrowserQueries, BrowserSessions
from domain.sessions import Session
from domain.users import User
from tests.fakes.storage import FakeStorage, FakeUnitOfWork


class FakeBrowserQueries(BrowserQueries):
    def __init__(self, storage: FakeStorage) -> None:
        self._storage = storage

    async def session_user(self, cookie_hash: str) -> tuple[Session, User] | None:
        state = await self._storage.read()
        token = state.refresh_tokens.get(cookie_hash)
        if token is None:
            return None
        session = copy(state.sessions[token.session_id])
        return session, copy(state.accounts[session.user_id].user)


class FakeBrowserSessions(BrowserSessions):
    def __init__(self, uow: FakeUnitOfWork) -> None:
        self._uow = uow

    async def slide(self, session: Session) -> None:
        state = await self._uow.state()
        stored = state.sessions.get(session.id)
        if stored and not stored.revoked_at and stored.last_used_at < session.last_used_at:
            state.put(session.id, session)
