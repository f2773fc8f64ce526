from dataclasses import dataclass, replace

from application.ports.passwords import PasswordHash
from application.ports.registrations import Registrations
from domain.registrations import NewRegistration, PendingRegistration, RegistrationId
from tests.fakes.storage import FakeUnitOfWork


@dataclass(frozen=True)
class Waiting:
    pending: PendingRegistration
    password: PasswordHash


class FakeRegistrations(Registrations):
    def __init__(self, uow: FakeUnitOfWork) -> None:
        self._uow = uow

    async def _rows(self) -> dict[RegistrationId, Waiting]:
        return (await self._uow.state()).rows(Waiting)

    async def add(self, new: NewRegistration, password: PasswordHash) -> PendingRegistration:
        added = new.stored_as(self._uow.new_id())
        (await self._rows())[added.id] = Waiting(added, password)
        return added

    async def get(self, registration_id: RegistrationId) -> PendingRegistration | None:
        found = (await self._rows()).get(registration_id)
        return found.pending if found else None

    async def set_code(self, registration_id: RegistrationId, code_hash: str) -> None:
        rows = await self._rows()
        pending = replace(rows[registration_id].pending, code_hash=code_hash)
        rows[registration_id] = replace(rows[registration_id], pending=pending)

    async def consume(self, code_hash: str) -> tuple[PendingRegistration, PasswordHash] | None:
        rows = await self._rows()
        for row in list(rows.values()):
            if row.pending.code_hash == code_hash:
                del rows[row.pending.id]
                return row.pending, row.password
        return None

    async def remove(self, registration_id: RegistrationId) -> None:
        (await self._rows()).pop(registration_id, None)
