from dataclasses import dataclass
from datetime import datetime

from application.ports.challenges import ChallengeRepository
from domain.challenges import TRIES_MAX, LoginChallenge
from domain.users import UserId
from tests.fakes.storage import FakeUnitOfWork


@dataclass(frozen=True, slots=True)
class StoredChallenge:
    user_id: UserId
    challenge: LoginChallenge
    tries: int = 0


class FakeChallenges(ChallengeRepository):
    def __init__(self, uow: FakeUnitOfWork) -> None:
        self._uow = uow

    async def add(self, challenge: LoginChallenge) -> None:
        stored = StoredChallenge(challenge.user_id, challenge)
        await self._uow.reach()
        self._uow.defer(lambda state: state.put(challenge.token_hash, stored))

    async def hit(self, token_hash: str, now: datetime) -> LoginChallenge | None:
        state = await self._uow.state()
        stored = state.rows(StoredChallenge).get(token_hash)
        if stored is None or now >= stored.challenge.expires_at or stored.tries >= TRIES_MAX:
            return None
        state.put(token_hash, StoredChallenge(stored.user_id, stored.challenge, stored.tries + 1))
        return stored.challenge

    async def consume(self, token_hash: str) -> bool:
        rows = (await self._uow.state()).rows(StoredChallenge)
        return rows.pop(token_hash, None) is not None
