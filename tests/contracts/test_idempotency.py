"""Idempotency records, in every storage."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import bindparam, select, update

from application.ports.idempotency import IdempotencyRecord
from application.ports.queries import PostDetails
from domain.errors import AlreadyGone
from domain.idempotency import IdempotencyKeyInUse
from domain.users import User, UserId
from infrastructure.database.driver.engine import open_database
from infrastructure.database.idempotency import IDEMPOTENCY_KEYS
from tests.contracts.backends import Backend, SqlBackend
from tests.factories import PostContentFactory, PostFactory
from tests.fakes.clock import NOON

LONG_AGO = NOON - timedelta(days=1)


def record_of(
    user_id: UserId, key: str = "a", title: str = "Fox 🦊 'n' \"den\""
) -> IdempotencyRecord:
    post = PostFactory.build(owner_id=user_id, content__title=title)
    response = PostDetails(
        post=post, visibility=post.visibility(NOON), owner_name=None, votes=3, voted=True
    )
    return IdempotencyRecord(
        user_id=user_id, key=key, request_hash="hash", response=response, at=NOON
    )


async def save(backend: Backend, record: IdempotencyRecord) -> None:
    async with backend.storage() as uow:
        assert await uow.idempotency.claim(record.user_id, record.key, record.at) is None
        await uow.idempotency.save(record)
        await uow.commit()


async def claim(backend: Backend, user: User, key: str = "a") -> IdempotencyRecord | None:
    async with backend.storage() as uow:
        return await uow.idempotency.claim(user.id, key, LONG_AGO)


async def test_a_record_is_returned_as_it_was_saved(backend: Backend) -> None:
    anna = await backend.add_user()
    record = record_of(anna.id)

    await save(backend, record)

    found = await claim(backend, anna)
    assert found is not None
    assert asdict(found) == asdict(record)


async def test_a_key_belongs_to_its_user(backend: Backend) -> None:
    anna, bob = await backend.add_user(), await backend.add_user()
    await save(backend, record_of(anna.id))

    assert await claim(backend, bob) is None
    assert await claim(backend, anna, "A") is None


async def test_an_expired_record_is_ignored_and_replaced(backend: Backend) -> None:
    anna = await backend.add_user()
    await save(backend, record_of(anna.id))
    await save(backend, record_of(anna.id, title="New"))

    found = await claim(backend, anna)

    assert found is not None
    assert found.response.post.content.title == "New"


async def test_a_record_without_a_commit_is_not_stored(backend: Backend) -> None:
    anna = await backend.add_user()

    async with backend.storage() as uow:
        await uow.idempotency.claim(anna.id, "a", LONG_AGO)
        await uow.idempotency.save(record_of(anna.id))

    assert await claim(backend, anna) is None


async def test_removing_a_user_removes_their_records(backend: Backend) -> None:
    anna, bob = await backend.add_user(), await backend.add_user()
    for user in (anna, bob):
        await save(backend, record_of(user.id))

    await backend.remove_user(anna.id)

    assert await claim(backend, anna) is None
    assert await claim(backend, bob) is not None
    with pytest.raises(AlreadyGone):
        await save(backend, record_of(anna.id))


async def test_a_key_is_claimed_by_one_unit_of_work_at_a_time(backend: Backend) -> None:
    anna = await backend.add_user()
    second: asyncio.Task[IdempotencyRecord | None]

    async with backend.storage() as uow:
        await uow.idempotency.claim(anna.id, "a", LONG_AGO)
        second = asyncio.create_task(claim(backend, anna))
        await asyncio.sleep(0.05)
        await uow.idempotency.save(record_of(anna.id))
        await uow.commit()

    # Refused at once, or made to wait and shown what the first one kept.
    with suppress(IdempotencyKeyInUse):
        assert await second is not None
    assert await claim(backend, anna) is not None


async def test_different_keys_do_not_wait_for_each_other(backend: Backend) -> None:
    anna = await backend.add_user()

    await asyncio.gather(*(save(backend, record_of(anna.id, key=str(n))) for n in range(8)))

    assert [await claim(backend, anna, str(n)) is not None for n in range(8)] == [True] * 8


# What the databases store

_STORED = select(IDEMPOTENCY_KEYS.c.answer)
_STORE = update(IDEMPOTENCY_KEYS).values(answer=bindparam("new_answer"))


async def stored_answer(backend: SqlBackend) -> str:
    ((text,),) = await backend.database.fetch(_STORED)
    return str(text)


async def store_answer(backend: SqlBackend, answer: dict[str, Any]) -> None:
    async with backend.database.transaction() as transaction:
        await transaction.fetch(_STORE, new_answer=json.dumps(answer))
        await transaction.commit()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[SqlBackend]:
    database = open_database(database_url, timeout=10)
    await database.open()
    yield SqlBackend(database)
    await database.close()


async def test_a_stored_response_is_little_larger_than_its_post(
    database: SqlBackend,
) -> None:
    anna = await database.add_user()
    record = record_of(anna.id)
    record.response.post.content = PostContentFactory.build(content="🦊" * 100_000)

    await save(database, record)

    assert len((await stored_answer(database)).encode()) < 400_000 + 1_000


async def test_a_response_of_an_older_release_is_completed_from_the_post(
    database: SqlBackend,
) -> None:
    """Its fields are as they were, and what it did not know is as it is now."""
    anna = await database.add_user()
    post = await database.add_post(anna, title="Now", content="Now")
    record = record_of(anna.id)
    await save(database, record)
    answer = json.loads(await stored_answer(database))
    answer["post"] |= {"id": post.id, "a_field_that_is_gone": 1}
    answer["post"]["content"]["title"] = "Then"
    del answer["post"]["content"]["content"], answer["votes"]
    await store_answer(database, answer)

    found = await claim(database, anna)

    assert found is not None
    content = found.response.post.content
    assert (content.title, content.content) == ("Then", "Now")
    assert found.response.post.created_at == record.response.post.created_at
    assert found.response.votes == 0


async def test_a_response_with_a_flat_post_is_still_read(
    database: SqlBackend,
) -> None:
    anna = await database.add_user()
    post = await database.add_post(anna)
    record = record_of(anna.id)
    await save(database, record)
    answer = json.loads(await stored_answer(database))
    answer["post"] |= {"id": post.id} | answer["post"].pop("content")
    del answer["visibility"]
    await store_answer(database, answer)

    found = await claim(database, anna)

    assert found is not None
    assert found.response.post.content == record.response.post.content


async def test_a_response_of_an_older_release_is_gone_with_its_post(
    database: SqlBackend,
) -> None:
    anna = await database.add_user()
    await save(database, record_of(anna.id))
    answer = json.loads(await stored_answer(database))
    del answer["post"]["content"]
    await store_answer(database, answer)

    with pytest.raises(AlreadyGone):
        await claim(database, anna)
