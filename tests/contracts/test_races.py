"""Use cases that decide on a post while others change it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from application.ports.queries import EventList
from application.ports.storage import UnitOfWork
from application.posts import ensure_readable
from domain.events import Event
from domain.posts import Post, PostChanged, PostNotFound, check_deletion
from domain.users import User
from infrastructure.database.driver.engine import open_database
from tests.contracts.backends import Backend, SqlBackend
from tests.factories import post_patch
from tests.fakes.clock import NOON

Versions = frozenset[int] | None
Change = Callable[[UnitOfWork], Awaitable[None]]


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[SqlBackend]:
    database = open_database(database_url, timeout=10)
    await database.open()
    yield SqlBackend(database)
    await database.close()


def editing(
    post: Post,
    editor: User,
    title: str,
    *,
    versions: Versions = None,
    meanwhile: list[Change] | None = None,
    storage: Backend | None = None,
) -> Change:
    """As `PostService.edit`, with changes that others commit between the read and the decision."""

    async def work(uow: UnitOfWork) -> None:
        found = await uow.posts.details(post.id, editor.id, NOON)
        seen = ensure_readable(found, post.id, editor, NOON).post
        if storage and meanwhile:
            await storage.storage.run(meanwhile.pop())
        patch = post_patch(title=f"{seen.content.title}, {title}")
        seen.edit(patch, actor=editor, now=NOON, expected_versions=versions)
        await uow.posts.save(seen)
        uow.record(Event.of(title, f"post:{post.id}", actor_id=editor.id, at=NOON))
        await uow.commit()

    return work


def deleting(
    post: Post,
    editor: User,
    *,
    versions: Versions = None,
    meanwhile: list[Change] | None = None,
    storage: Backend | None = None,
) -> Change:
    """As `PostService.delete`."""

    async def work(uow: UnitOfWork) -> None:
        found = await uow.posts.details(post.id, editor.id, NOON)
        seen = ensure_readable(found, post.id, editor, NOON).post
        if storage and meanwhile:
            await storage.storage.run(meanwhile.pop())
        check_deletion(seen, actor=editor, now=NOON, expected_versions=versions)
        await uow.posts.remove(seen)
        uow.record(Event.of("deleted", f"post:{post.id}", actor_id=editor.id, at=NOON))
        await uow.commit()

    return work


async def state(backend: Backend, post: Post, anna: User) -> tuple[str | None, list[str]]:
    """The title of the post, and the names of the events, oldest first."""
    seen = await backend.post(post.id, anna)
    events = (await backend.queries.events(EventList(limit=100))).items
    return seen.post.content.title if seen else None, [entry.event.name for entry in events][::-1]


async def test_no_concurrent_edit_of_a_use_case_is_lost(backend: Backend) -> None:
    anna = await backend.add_user()
    post = await backend.add_post(anna, title="0")

    edits = [editing(post, anna, f"e{number}") for number in range(20)]
    await asyncio.gather(*map(backend.storage.run, edits))

    title, events = await state(backend, post, anna)
    assert title is not None
    assert sorted(title.split(", ")[1:]) == sorted(events) == sorted(f"e{n}" for n in range(20))
    seen = await backend.post(post.id, anna)
    assert seen is not None
    assert seen.post.version == 21


async def test_an_overtaken_edit_starts_again_from_the_newer_version(database: SqlBackend) -> None:
    anna = await database.add_user()
    post = await database.add_post(anna, title="first")
    theirs = editing(post, anna, "theirs")

    await database.storage.run(editing(post, anna, "mine", meanwhile=[theirs], storage=database))

    expected = ("first, theirs, mine", ["theirs", "mine"])
    assert await state(database, post, anna) == expected


async def test_an_overtaken_edit_of_an_expected_version_is_refused(database: SqlBackend) -> None:
    anna = await database.add_user()
    post = await database.add_post(anna, title="first")
    theirs = editing(post, anna, "theirs")
    mine = editing(
        post, anna, "mine", versions=frozenset({1}), meanwhile=[theirs], storage=database
    )

    with pytest.raises(PostChanged):
        await database.storage.run(mine)

    assert await state(database, post, anna) == ("first, theirs", ["theirs"])


async def test_an_edit_that_a_deletion_overtakes_finds_no_post(database: SqlBackend) -> None:
    anna = await database.add_user()
    post = await database.add_post(anna)
    meanwhile = [deleting(post, anna)]
    mine = editing(post, anna, "mine", meanwhile=meanwhile, storage=database)

    with pytest.raises(PostNotFound):
        await database.storage.run(mine)

    assert await state(database, post, anna) == (None, ["deleted"])


async def test_an_overtaken_deletion_decides_again(database: SqlBackend) -> None:
    anna = await database.add_user()
    post = await database.add_post(anna, title="first")
    mine = deleting(
        post,
        anna,
        versions=frozenset({1}),
        meanwhile=[editing(post, anna, "theirs")],
        storage=database,
    )

    with pytest.raises(PostChanged):
        await database.storage.run(mine)
    assert await state(database, post, anna) == ("first, theirs", ["theirs"])

    await database.storage.run(
        deleting(post, anna, meanwhile=[editing(post, anna, "again")], storage=database)
    )
    assert await state(database, post, anna) == (None, ["theirs", "again", "deleted"])
