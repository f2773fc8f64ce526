from copy import copy
from dataclasses import dataclass, replace
from datetime import datetime

from application.ports.personal_tokens import PersonalTokenQueries, PersonalTokens
from domain.personal_tokens import NewPersonalToken, PersonalToken, PersonalTokenId
from domain.users import User, UserId
from tests.fakes.storage import FakeStorage, FakeUnitOfWork, State


@dataclass(frozen=True, slots=True)
class TokenHash:
    hash: str
    token_id: PersonalTokenId


def tokens_of(state: State, user_id: UserId) -> list[PersonalToken]:
    return [row for row in state.rows(PersonalToken).values() if row.user_id == user_id]


class FakePersonalTokens(PersonalTokens):
    def __init__(self, uow: FakeUnitOfWork) -> None:
        self._uow = uow

    async def add(self, token: NewPersonalToken) -> PersonalToken:
        await self._uow.state()
        added = token.stored_as(self._uow.new_id())
        self._uow.defer(lambda state: state.put(added.id, added))
        row = TokenHash(token.token_hash, added.id)
        self._uow.defer(lambda state: state.put(row.hash, row))
        return added

    async def count(self, user_id: UserId, now: datetime) -> int:
        tokens = tokens_of(await self._uow.state(), user_id)
        return sum(now < token.expires_at for token in tokens)

    async def delete(self, token_id: PersonalTokenId, user_id: UserId) -> bool:
        state = await self._uow.state()
        found = token_id in {token.id for token in tokens_of(state, user_id)}
        if found:
            state.remove(PersonalToken, token_id)
        return found

    async def delete_all(self, user_id: UserId) -> int:
        state = await self._uow.state()
        tokens = tokens_of(state, user_id)
        for token in tokens:
            state.remove(PersonalToken, token.id)
        return len(tokens)

    async def note_use(self, token_id: PersonalTokenId, at: datetime) -> None:
        state = await self._uow.state()
        token = state.rows(PersonalToken).get(token_id)
        if token and token.is_use_worth_noting(at):
            state.put(token_id, replace(token, last_used_at=at))


class FakePersonalTokenQueries(PersonalTokenQueries):
    def __init__(self, storage: FakeStorage) -> None:
        self._storage = storage

    async def tokens(self, user_id: UserId, now: datetime) -> list[PersonalToken]:
        tokens = tokens_of(await self._storage.read(), user_id)
        return [copy(token) for token in reversed(tokens) if now < token.expires_at]

    async def token_user(self, token_hash: str) -> tuple[PersonalToken, User] | None:
        state = await self._storage.read()
        row = state.rows(TokenHash).get(token_hash)
        if row is None:
            return None
        token = state.rows(PersonalToken)[row.token_id]
        return copy(token), copy(state.accounts[token.user_id].user)
