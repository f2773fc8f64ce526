from collections.abc import Collection
from copy import copy
from dataclasses import dataclass, replace

from application.ports.factors import FactorQueries, FactorRepository, FactorStatus
from domain.factors import Totp
from domain.users import UserId
from tests.fakes.storage import FakeStorage, FakeUnitOfWork, State


@dataclass(frozen=True, slots=True)
class RecoveryCode:
    user_id: UserId
    code_hash: str


class FakeFactorQueries(FactorQueries):
    def __init__(self, storage: FakeStorage) -> None:
        self._storage = storage

    async def status(self, user_id: UserId) -> FactorStatus:
        state = await self._storage.read()
        totp = state.rows(Totp).get(user_id)
        return FactorStatus(
            totp_confirmed_at=totp.confirmed_at if totp else None,
            recovery_codes_left=len(_codes(state, user_id)),
        )


class FakeFactors(FactorRepository):
    def __init__(self, uow: FakeUnitOfWork) -> None:
        self._uow = uow

    async def totp(self, user_id: UserId) -> Totp | None:
        return copy((await self._uow.state()).rows(Totp).get(user_id))

    async def put_totp(self, totp: Totp) -> None:
        (await self._uow.state()).put(totp.user_id, copy(totp))

    async def claim_step(self, user_id: UserId, step: int) -> bool:
        state = await self._uow.state()
        totp = state.rows(Totp).get(user_id)
        if totp is None or step <= totp.last_step:
            return False
        state.put(user_id, replace(totp, last_step=step))
        return True

    async def remove_totp(self, user_id: UserId) -> None:
        (await self._uow.state()).rows(Totp).pop(user_id, None)

    async def replace_recovery_codes(self, user_id: UserId, hashes: Collection[str]) -> None:
        state = await self._uow.state()
        for code in _codes(state, user_id):
            del state.rows(RecoveryCode)[code.code_hash]
        for code_hash in hashes:
            state.put(code_hash, RecoveryCode(user_id, code_hash))

    async def consume_recovery_code(self, user_id: UserId, code_hash: str) -> bool:
        codes = (await self._uow.state()).rows(RecoveryCode)
        if code_hash not in codes or codes[code_hash].user_id != user_id:
            return False
        del codes[code_hash]
        return True


def _codes(state: State, user_id: UserId) -> list[RecoveryCode]:
    return [code for code in state.rows(RecoveryCode).values() if code.user_id == user_id]
