from copy import deepcopy
from datetime import datetime

from application.ports.idempotency import Idempotency, IdempotencyRecord
from domain.users import UserId
from tests.fakes.storage import FakeUnitOfWork


class FakeIdempotency(Idempotency):
    def __init__(self, uow: FakeUnitOfWork) -> None:
        self._uow = uow

    async def claim(self, user_id: UserId, key: str, since: datetime) -> IdempotencyRecord | None:
        kept = (await self._uow.state()).kept.get((user_id, key))
        return deepcopy(kept) if kept is not None and kept.at > since else None

    async def save(self, record: IdempotencyRecord) -> None:
        await self._uow.reach()
        row = deepcopy(record)
        self._uow.defer(lambda state: state.put((row.user_id, row.key), row))
