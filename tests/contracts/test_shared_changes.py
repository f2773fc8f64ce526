"""Changes that go to PostgreSQL together."""

import asyncio
from collections.abc import AsyncIterator, Awaitable

import asyncpg
import pytest

from application.posts import PostService
from domain.errors import AlreadyGone
from domain.posts import DEFAULT_OPTIONS
from domain.users import User
from infrastructure.clock import system_clock
from infrastructure.database.driver.engine import open_database
from infrastructure.database.driver.shared_changes import IN_FLIGHT_MAX
from tests.contracts.backends import SqlBackend
from tests.factories import PostContentFactory, UserFactory, post_patch

MANY = 20


@pytest.fixture
async def backend(postgres_url: str) -> AsyncIterator[SqlBackend]:
    database = open_database(postgres_url, timeout=10)
    await database.open()
    yield SqlBackend(database)
    await database.close()


@pytest.fixture
async def other(postgres_url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """Somebody else's connection."""
    connection = await asyncpg.connect(postgres_url)
    yield connection
    await connection.close()


def posts_of(backend: SqlBackend) -> PostService:
    return PostService(
        queries=backend.queries,
        storage=backend.storage,
        clock=system_clock,
        options=DEFAULT_OPTIONS,
    )


async def written_by(backend: SqlBackend, *authors: User) -> list[object]:
    """What comes of a post of each of the `authors`, written at the same time."""
    service, draft = posts_of(backend), PostContentFactory.build()
    writing: list[Awaitable[object]] = [service.write(draft, author) for author in authors]
    return await asyncio.gather(*writing, return_exceptions=True)


async def test_changes_at_the_same_time_share_transactions(
    backend: SqlBackend, other: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    authors = [await backend.add_user() for _ in range(MANY)]

    await written_by(backend, *authors)

    count = "SELECT count(*), count(DISTINCT xmin::text) FROM"
    for rows in ("posts", "events"):
        total, transactions = await other.fetchrow(f"{count} {rows}") or (0, 0)
        assert total == MANY
        assert transactions <= IN_FLIGHT_MAX + 2, rows


async def test_a_change_that_is_refused_takes_no_other_along(
    backend: SqlBackend, other: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    anna, nobody = await backend.add_user(), UserFactory.build(id=4711)

    outcomes = await written_by(backend, *([anna] * MANY), nobody, *([anna] * MANY))

    refused = [error for error in outcomes if isinstance(error, BaseException)]
    assert [type(error) for error in refused] == [AlreadyGone]
    audited = "SELECT count(*) FROM posts JOIN events ON subject = 'post:' || posts.id"
    assert await other.fetchval(audited) == 2 * MANY


@pytest.mark.parametrize("place", [0, MANY // 2])
async def test_a_locked_row_holds_up_no_other(
    backend: SqlBackend, other: "asyncpg.Connection[asyncpg.Record]", place: int
) -> None:
    anna = await backend.add_user()
    posts = [await backend.add_post(anna) for _ in range(MANY)]
    service, patch = posts_of(backend), post_patch(title="New")
    async with other.transaction():
        await other.execute("SELECT FROM posts WHERE id = $1 FOR UPDATE", posts[place].id)
        edits = [asyncio.create_task(service.edit(post.id, patch, anna)) for post in posts]
        locked = edits.pop(place)
        async with asyncio.timeout(5):
            await asyncio.gather(*edits)
        assert not locked.done()

    assert (await locked).post.version == 2


async def test_a_change_that_is_given_up_leaves_the_others_alone(backend: SqlBackend) -> None:
    anna = await backend.add_user()
    service, draft = posts_of(backend), PostContentFactory.build()
    writing = [asyncio.create_task(service.write(draft, anna)) for _ in range(MANY)]
    await asyncio.wait(writing, return_when=asyncio.FIRST_COMPLETED)

    for task in writing[1::2]:
        task.cancel()

    outcomes = await asyncio.gather(*writing, return_exceptions=True)
    failed = {type(error) for error in outcomes if isinstance(error, BaseException)}
    assert failed <= {asyncio.CancelledError}
    assert not any(isinstance(outcome, BaseException) for outcome in outcomes[::2])
    assert not isinstance((await written_by(backend, anna))[0], BaseException)
