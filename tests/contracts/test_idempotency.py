"""What every storage does with the keys of requests that may be sent again."""

import asyncio
from contextlib import suppress
from datetime import timedelta

import pytest

from application.ports.queries import PostDetails
from application.ports.storage import IdempotencyRecord
from domain.errors import AlreadyGone
from domain.idempotency import IdempotencyKeyInUse
from domain.users import User, UserId
from tests.contracts.backends import Backend
from tests.factories import PostFactory
from tests.fakes.clock import NOON

LONG_AGO = NOON - timedelta(days=1)


def kept(user_id: UserId, key: str = "a", title: str = "Fox 🦊 'n' \"den\"") -> IdempotencyRecord:
    post = PostFactory.build(owner_id=user_id, title=title)
    answer = PostDetails(post=post, owner_name=None, votes=3, voted=True)
    return IdempotencyRecord(user_id=user_id, key=key, asked="asked", answer=answer, at=NOON)


async def keep(backend: Backend, what: IdempotencyRecord) -> None:
    async with backend.storage() as uow:
        assert await uow.idempotency.claim(what.user_id, what.key, what.at) is None
        await uow.idempotency.save(what)
        await uow.commit()


async def claim(backend: Backend, user: User, key: str = "a") -> IdempotencyRecord | None:
    async with backend.storage() as uow:
        return await uow.idempotency.claim(user.id, key, LONG_AGO)


async def test_what_was_kept_comes_back_whole(backend: Backend) -> None:
    anna = await backend.add_user()
    what = kept(anna.id)

    await keep(backend, what)

    assert repr(await claim(backend, anna)) == repr(what)


async def test_a_key_is_its_user_s_own(backend: Backend) -> None:
    anna, bob = await backend.add_user(), await backend.add_user()
    await keep(backend, kept(anna.id))

    assert await claim(backend, bob) is None
    assert await claim(backend, anna, "A") is None


async def test_what_is_too_old_is_forgotten_and_replaced(backend: Backend) -> None:
    anna = await backend.add_user()
    await keep(backend, kept(anna.id))
    await keep(backend, kept(anna.id, title="New"))

    found = await claim(backend, anna)

    assert found is not None
    assert found.answer.post.title == "New"


async def test_nothing_is_kept_without_a_commit(backend: Backend) -> None:
    anna = await backend.add_user()

    async with backend.storage() as uow:
        await uow.idempotency.claim(anna.id, "a", LONG_AGO)
        await uow.idempotency.save(kept(anna.id))

    assert await claim(backend, anna) is None


async def test_a_user_s_keys_go_with_the_user(backend: Backend) -> None:
    anna, bob = await backend.add_user(), await backend.add_user()
    for user in (anna, bob):
        await keep(backend, kept(user.id))

    await backend.remove_user(anna.id)

    assert await claim(backend, anna) is None
    assert await claim(backend, bob) is not None
    with pytest.raises(AlreadyGone):
        await keep(backend, kept(anna.id))


async def test_one_key_is_claimed_by_one_at_a_time(backend: Backend) -> None:
    anna = await backend.add_user()
    second: asyncio.Task[IdempotencyRecord | None]

    async with backend.storage() as uow:
        await uow.idempotency.claim(anna.id, "a", LONG_AGO)
        second = asyncio.create_task(claim(backend, anna))
        await asyncio.sleep(0.05)
        await uow.idempotency.save(kept(anna.id))
        await uow.commit()

    # Refused at once, or made to wait and shown what the first one kept.
    with suppress(IdempotencyKeyInUse):
        assert await second is not None
    assert await claim(backend, anna) is not None


async def test_other_keys_do_not_wait_for_each_other_s_answers(backend: Backend) -> None:
    anna = await backend.add_user()

    await asyncio.gather(*(keep(backend, kept(anna.id, key=str(n))) for n in range(8)))

    assert [await claim(backend, anna, str(n)) is not None for n in range(8)] == [True] * 8
