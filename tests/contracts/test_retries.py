"""Serialization failures and deadlocks, provoked in PostgreSQL, and their retries."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote

import asyncpg
import pytest

from application.outages import OutcomeUnknown, SerializationFailure
from application.ports.storage import UnitOfWork
from application.posts import PostService
from domain.posts import DEFAULT_OPTIONS, Post, PostOptions, QuotaReached
from infrastructure.clock import system_clock
from infrastructure.database.driver.engine import open_database
from infrastructure.database.driver.retries import PAUSES
from tests.contracts.backends import SqlBackend
from tests.factories import PostContentFactory, post_patch
from tests.fakes.clock import NOON

ATTEMPTS = 1 + len(PAUSES)


@asynccontextmanager
async def opened(url: str, **settings: str) -> AsyncIterator[SqlBackend]:
    """With settings of the server's for each connection."""
    options = quote(" ".join(f"-c {name}={value}" for name, value in settings.items()))
    database = open_database(f"{url}?options={options}" if settings else url)
    await database.open()
    try:
        yield SqlBackend(database)
    finally:
        await database.close()


@pytest.fixture
async def serializable(postgres_url: str) -> AsyncIterator[SqlBackend]:
    async with opened(postgres_url, default_transaction_isolation="serializable") as backend:
        yield backend


@pytest.fixture
async def other(postgres_url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """Somebody else's connection."""
    connection = await asyncpg.connect(postgres_url)
    yield connection
    await connection.close()


def posts_of(backend: SqlBackend, options: PostOptions = DEFAULT_OPTIONS) -> PostService:
    return PostService(
        queries=backend.queries, storage=backend.storage, clock=system_clock, options=options
    )


# Forced by what really happens


async def test_a_retried_edit_starts_from_the_concurrent_one(
    serializable: SqlBackend, other: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    anna = await serializable.add_user()
    post = await serializable.add_post(anna)
    async with other.transaction(isolation="serializable"):
        await other.execute("UPDATE posts SET version = 2 WHERE id = $1", post.id)
        edit = posts_of(serializable).edit(post.id, post_patch(title="New"), anna)
        editing = asyncio.create_task(edit)
        async with asyncio.timeout(10):
            while not await other.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    seen = await editing

    assert (seen.post.content.title, seen.post.version) == ("New", 3)


async def test_without_retries_the_use_case_fails(
    serializable: SqlBackend, other: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    anna = await serializable.add_user()
    posts = [await serializable.add_post(anna) for _ in range(2)]

    async with serializable.storage() as uow:
        assert await uow.posts.details(posts[0].id, anna.id, NOON)
        await other.execute("UPDATE posts SET version = 2 WHERE id = $1", posts[1].id)
        with pytest.raises(SerializationFailure):
            await uow.posts.details(posts[1].id, anna.id, NOON)


async def test_a_quota_holds_where_transactions_are_serializable(serializable: SqlBackend) -> None:
    anna = await serializable.add_user()
    service = posts_of(serializable, PostOptions(per_day=2))

    written = await asyncio.gather(
        *(service.write(PostContentFactory.build(), anna) for _ in range(3)), return_exceptions=True
    )

    refused = [error for error in written if isinstance(error, BaseException)]
    assert [type(error) for error in refused] == [QuotaReached]


async def test_two_deadlocked_use_cases_both_succeed(postgres_url: str) -> None:
    async with opened(postgres_url, deadlock_timeout="20ms") as backend:
        anna = await backend.add_user()
        posts = [await backend.add_post(anna) for _ in range(2)]
        meeting = asyncio.Barrier(2)
        runs = 0

        async def edit(*order: Post) -> None:
            async def work(uow: UnitOfWork) -> None:
                nonlocal runs
                runs += 1
                for post in order:
                    seen = await uow.posts.details(post.id, anna.id, NOON)
                    assert seen
                    seen.post.version += 1
                    await uow.posts.save(seen.post)
                    if post is order[0] and runs <= 2:
                        await meeting.wait()
                await uow.commit()

            await backend.storage.run(work)

        async with asyncio.timeout(20):
            await asyncio.gather(edit(*posts), edit(*reversed(posts)))

        assert runs == 3
        for post in posts:
            seen = await backend.post(post.id, anna)
            assert seen
            assert seen.post.version == 3


# Forced by a trigger that refuses

REFUSE = """
CREATE SEQUENCE refusals;
CREATE FUNCTION refuse() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    -- No rollback takes back what a sequence gave.
    IF nextval('refusals') <= {times} THEN
        RAISE EXCEPTION 'refused' USING ERRCODE = '{code}';
    END IF;
    RETURN true;
END $$;
CREATE FUNCTION refuse_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM refuse();
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER refuse AFTER INSERT OR UPDATE ON posts
DEFERRABLE INITIALLY {when} FOR EACH ROW EXECUTE FUNCTION refuse_row();
"""

at_both_moments = pytest.mark.parametrize("when", ["IMMEDIATE", "DEFERRED"])
"""At the statement, and at the commit."""


@at_both_moments
@pytest.mark.parametrize("code", ["40001", "40P01"])
async def test_a_use_case_succeeds_at_the_last_attempt(
    postgres_url: str, other: "asyncpg.Connection[asyncpg.Record]", code: str, when: str
) -> None:
    async with opened(postgres_url) as backend:
        anna = await backend.add_user()
        await other.execute(REFUSE.format(times=ATTEMPTS - 1, code=code, when=when))
        post = (await posts_of(backend).write(PostContentFactory.build(), anna)).post
        await other.execute("ALTER SEQUENCE refusals RESTART")
        edited = await posts_of(backend).edit(post.id, post_patch(title="New"), anna)

    assert edited.post.version == 2
    assert await other.fetchval("SELECT count(*) FROM posts") == 1
    events = await other.fetch("SELECT name FROM events ORDER BY id")
    assert [name for (name,) in events] == ["post_written", "post_edited"]


@at_both_moments
async def test_with_one_attempt_less_the_failure_is_raised(
    postgres_url: str, other: "asyncpg.Connection[asyncpg.Record]", when: str
) -> None:
    async with opened(postgres_url) as backend:
        anna = await backend.add_user()
        await other.execute(REFUSE.format(times=ATTEMPTS, code="40001", when=when))
        with pytest.raises(SerializationFailure):
            await posts_of(backend).write(PostContentFactory.build(), anna)

        assert await other.fetchval("SELECT last_value FROM refusals") == ATTEMPTS
        assert await other.fetchval("SELECT count(*) FROM posts") == 0
        await posts_of(backend).write(PostContentFactory.build(), anna)


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("40003", id="CockroachDB's way of saying so"),
        pytest.param("57P01", id="the server is shut down"),
    ],
)
async def test_a_commit_with_an_unknown_outcome_is_not_retried(
    postgres_url: str, other: "asyncpg.Connection[asyncpg.Record]", code: str
) -> None:
    async with opened(postgres_url) as backend:
        anna = await backend.add_user()
        await other.execute(REFUSE.format(times=1, code=code, when="DEFERRED"))
        with pytest.raises(OutcomeUnknown):
            await posts_of(backend).write(PostContentFactory.build(), anna)

    assert await other.fetchval("SELECT last_value FROM refusals") == 1


async def test_a_read_is_retried(
    postgres_url: str, other: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    async with opened(postgres_url) as backend:
        anna = await backend.add_user()
        await other.execute(REFUSE.format(times=ATTEMPTS - 1, code="40001", when="IMMEDIATE"))
        await other.execute("ALTER TABLE users RENAME TO people")
        await other.execute("CREATE VIEW users AS SELECT people.* FROM people WHERE refuse()")

        assert await backend.queries.user(anna.id) is not None
        assert await other.fetchval("SELECT last_value FROM refusals") == ATTEMPTS
