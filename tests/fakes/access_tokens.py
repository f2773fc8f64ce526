from datetime import datetime

from application.ports.storage import AccessTokens
from domain.sessions import SessionId
from tests.fakes.storage import AccessToken, FakeUnitOfWork


class FakeAccessTokens(AccessTokens):
    def __init__(self, uow: FakeUnitOfWork) -> None:
        self._uow = uow

    async def add(
        self,
        token_hash: str,
        *,
        session_id: SessionId,
        issued_at: datetime,
        expires_at: datetime,
    ) -> None:
        await self._uow.state()
        token = AccessToken(token_hash, session_id)
        self._uow.defer(lambda state: state.put(token.hash, token))
