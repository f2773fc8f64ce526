from dataclasses import replace
from datetime import UTC, datetime

from application.ports.passwords import PasswordHash
from application.ports.storage import Identities
from domain.users import EmailTaken, NewUser, User, UserId
from tests.fakes.storage import Account, EndedIdentity, FakeUnitOfWork, Identity


class FakeIdentities(Identities):
    def __init__(self, uow: FakeUnitOfWork) -> None:
        self._uow = uow

    async def add(self, user: NewUser, *, issuer: str, subject: str) -> User:
        state = await self._uow.state()
        if (issuer, subject) in state.rows(Identity):
            raise self._uow.refuse(EmailTaken)
        added = await self._uow.users.add(user, PasswordHash(""))
        added = replace(added, is_verified=True, tokens_valid_from=datetime(1970, 1, 1, tzinfo=UTC))
        state.put(added.id, Account(added.id, added, PasswordHash("")))
        state.put((issuer, subject), Identity(issuer, subject, added.id))
        return added

    async def ended_at(self, issuer: str, subject: str) -> datetime | None:
        ended = (await self._uow.state()).rows(EndedIdentity).get((issuer, subject))
        return ended.at if ended else None

    async def end(self, user_id: UserId, now: datetime) -> None:
        state = await self._uow.state()
        for key, identity in list(state.rows(Identity).items()):
            if identity.user_id == user_id:
                state.remove(Identity, key)
                state.put(key, EndedIdentity(identity.issuer, identity.subject, now))
