from collections.abc import Callable
from datetime import datetime

from application.ports.storage import OneTimeCodes
from domain.addresses import email_key
from domain.one_time_codes import OneTimeCode, Purpose
from domain.users import UserId
from tests.fakes.storage import FakeUnitOfWork


class FakeOneTimeCodes(OneTimeCodes):
    def __init__(self, uow: FakeUnitOfWork) -> None:
        self._uow = uow

    async def add(self, code: OneTimeCode) -> None:
        await self._uow.reach()
        self._uow.defer(lambda state: state.put(code.code_hash, code))

    async def consume(self, code_hash: str) -> bool:
        return (await self._uow.state()).codes.pop(code_hash, None) is not None

    async def delete_all(self, user_id: UserId) -> None:
        await self._delete(
            lambda code: code.user_id == user_id and code.purpose is not Purpose.EMAIL_CHANGE_UNDO
        )

    async def delete_undos(self, code: OneTimeCode) -> None:
        undos = [
            other
            for other in (await self._uow.state()).codes.values()
            if other.user_id == code.user_id and other.purpose is Purpose.EMAIL_CHANGE_UNDO
        ]
        same = [other.expires_at for other in undos if other.email == code.email]
        first = min([code.expires_at, *same])
        await self._delete(lambda other: other in undos and other.expires_at >= first)

    async def _delete(self, is_deleted: Callable[[OneTimeCode], bool]) -> None:
        state = await self._uow.state()
        for code in list(state.codes.values()):
            if is_deleted(code):
                state.remove(OneTimeCode, code.code_hash)

    async def reserves(self, email: str, now: datetime, *, but: UserId | None = None) -> bool:
        return any(
            code.purpose is Purpose.EMAIL_CHANGE_UNDO
            and email_key(code.email) == email_key(email)
            and code.expires_at > now
            and code.user_id != but
            for code in (await self._uow.state()).codes.values()
        )
