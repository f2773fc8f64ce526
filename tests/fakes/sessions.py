from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import datetime

from application.ports.passwords import PasswordHash
from application.ports.storage import Sessions
from domain.sessions import SESSIONS_MAX, InvalidCredentials, NewSession, Session, SessionId
from domain.users import UserId
from tests.fakes.storage import FakeUnitOfWork, RefreshToken, State


class FakeSessions(Sessions):
    def __init__(self, uow: FakeUnitOfWork) -> None:
        self._uow = uow

    async def add(self, session: NewSession, password: PasswordHash) -> Session:
        state = await self._uow.state()
        account = state.accounts.get(session.user_id)
        if account is None or not account.user.is_active or account.password != password:
            raise InvalidCredentials
        if account.user.second_factor_since != session.second_factor_since:
            raise InvalidCredentials
        added = Session(
            id=SessionId(self._uow.new_id()),
            user_id=session.user_id,
            created_at=session.created_at,
            last_used_at=session.created_at,
            expires_at=session.expires_at,
            revoked_at=None,
            user_agent=session.user_agent,
            ip=session.ip,
            methods=session.methods,
        )
        state.put(added.id, added)
        token = RefreshToken(session.refresh_hash, added.id)
        state.put(token.hash, token)
        surplus = state.sessions_of(session.user_id, session.created_at)[SESSIONS_MAX:]
        self._end(state, {over.id for over in surplus}, session.created_at)
        return added

    async def rotate(self, session: Session, *, used_hash: str, new_hash: str, nonce: str) -> bool:
        state = await self._uow.state()
        stored = state.sessions.get(session.id)
        if stored is None or stored.revoked_at:
            return False
        if state.refresh_chain(session.id)[-1].hash != used_hash:
            return False
        state.put(session.id, session)
        state.put(new_hash, RefreshToken(new_hash, session.id, nonce, session.last_used_at))
        return True

    async def save_proof(self, session: Session) -> bool:
        state = await self._uow.state()
        stored = state.sessions.get(session.id)
        if stored is None or stored.revoked_at:
            return False
        state.put(
            session.id,
            replace(
                stored,
                methods=session.methods,
                last_proof_at=session.last_proof_at,
                last_factor_proof_at=session.last_factor_proof_at,
            ),
        )
        return True

    async def revoke(self, session_id: SessionId, user_id: UserId, now: datetime) -> bool:
        state = await self._uow.state()
        active = {session.id for session in state.sessions_of(user_id, now)} & {session_id}
        self._end(state, active, now)
        return bool(active)

    async def revoke_all(
        self, user_id: UserId, now: datetime, *, but: SessionId | None = None
    ) -> int:
        state = await self._uow.state()
        active = {session.id for session in state.sessions_of(user_id, now)} - {but}
        self._end(state, active, now)
        return len(active)

    def _end(self, state: State, ids: AbstractSet[SessionId | None], now: datetime) -> None:
        for id_, session in state.sessions.items():
            if id_ in ids:
                state.sessions[id_] = replace(session, revoked_at=now)
