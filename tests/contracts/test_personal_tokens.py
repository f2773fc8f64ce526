"""The contract of stored personal tokens: on fakes and both databases."""

from datetime import datetime, timedelta

import pytest

from application.ports.personal_tokens import PersonalTokenQueries, PersonalTokens
from domain.errors import AlreadyGone
from domain.personal_tokens import USE_NOTED_EVERY, NewPersonalToken, PersonalToken
from domain.scopes import Scope
from domain.users import User
from tests.contracts.backends import Backend
from tests.fakes.clock import NOON

HOUR = timedelta(hours=1)


async def add(
    backend: Backend, user: User, token_hash: str, *, expires_at: datetime = NOON + HOUR
) -> PersonalToken:
    async with backend.storage() as uow:
        added = await uow.of(PersonalTokens).add(
            NewPersonalToken(
                user_id=user.id,
                name="backup",
                scopes=(Scope.ACCOUNT_READ, Scope.ADMIN),
                created_at=NOON,
                expires_at=expires_at,
                token_hash=token_hash,
            )
        )
        await uow.commit()
    return added


async def listed(backend: Backend, user: User, now: datetime = NOON) -> list[int]:
    tokens = await backend.queries.of(PersonalTokenQueries).tokens(user.id, now)
    return [token.id for token in tokens]


async def found(backend: Backend, token_hash: str) -> tuple[int, int] | None:
    pair = await backend.queries.of(PersonalTokenQueries).token_user(token_hash)
    return pair and (pair[0].id, pair[1].id)


async def test_a_token_is_found_by_its_hash_with_its_user(backend: Backend) -> None:
    anna, bert = await backend.add_user(), await backend.add_user()
    one, two = await add(backend, anna, "one"), await add(backend, bert, "two")

    assert await found(backend, "one") == (one.id, anna.id)
    assert await found(backend, "two") == (two.id, bert.id)
    assert await found(backend, "three") is None
    stored = await backend.queries.of(PersonalTokenQueries).token_user("one")
    assert stored
    token, _ = stored
    assert (token.name, token.scopes) == ("backup", (Scope.ACCOUNT_READ, Scope.ADMIN))
    assert (token.created_at, token.expires_at, token.last_used_at) == (NOON, NOON + HOUR, None)


async def test_the_list_has_the_user_s_unexpired_tokens_newest_first(backend: Backend) -> None:
    anna, bert = await backend.add_user(), await backend.add_user()
    old = await add(backend, anna, "1")
    await add(backend, anna, "2", expires_at=NOON)
    await add(backend, bert, "3")
    new = await add(backend, anna, "4")

    assert await listed(backend, anna) == [new.id, old.id]
    async with backend.storage() as uow:
        assert await uow.of(PersonalTokens).count(anna.id, NOON) == 2
        assert await uow.of(PersonalTokens).count(anna.id, NOON + HOUR) == 0


async def test_tokens_are_deleted_one_by_one_or_together(backend: Backend) -> None:
    anna, bert = await backend.add_user(), await backend.add_user()
    tokens = [await add(backend, anna, str(number)) for number in range(3)]
    theirs = await add(backend, bert, "theirs")

    async with backend.storage() as uow:
        repository = uow.of(PersonalTokens)
        assert not await repository.delete(tokens[0].id, bert.id)
        assert await repository.delete(tokens[0].id, anna.id)
        assert not await repository.delete(tokens[0].id, anna.id)
        await uow.commit()
    assert await listed(backend, anna) == [tokens[2].id, tokens[1].id]
    assert await found(backend, "0") is None

    async with backend.storage() as uow:
        assert await uow.of(PersonalTokens).delete_all(anna.id) == 2
        await uow.commit()
    assert (await listed(backend, anna), await listed(backend, bert)) == ([], [theirs.id])


async def test_a_use_is_noted_at_most_once_an_hour(backend: Backend) -> None:
    anna = await backend.add_user()
    token = await add(backend, anna, "one")

    for at, noted in (
        (NOON, NOON),
        (NOON + USE_NOTED_EVERY - timedelta(seconds=1), NOON),
        (NOON + USE_NOTED_EVERY, NOON + USE_NOTED_EVERY),
    ):
        async with backend.storage() as uow:
            await uow.of(PersonalTokens).note_use(token.id, at)
            await uow.commit()
        pair = await backend.queries.of(PersonalTokenQueries).token_user("one")
        assert pair
        assert pair[0].last_used_at == noted


async def test_a_token_goes_with_its_user(backend: Backend) -> None:
    anna = await backend.add_user()
    await add(backend, anna, "one")

    await backend.remove_user(anna.id)

    assert await found(backend, "one") is None
    with pytest.raises(AlreadyGone):
        await add(backend, anna, "two")


async def test_no_token_of_a_closed_account_is_found(backend: Backend) -> None:
    anna = await backend.add_user()
    await add(backend, anna, "one")

    async with backend.storage() as uow:
        await uow.users.remove(anna)
        await uow.commit()

    assert await found(backend, "one") is None
