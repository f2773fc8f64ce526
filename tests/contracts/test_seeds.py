"""Demo data in the real databases."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from application.ports.queries import EventList, PostList
from demo import seeds
from demo.seeds import Seeded, seed
from domain.search import terms_of
from domain.users import User
from infrastructure.database.driver.engine import open_database
from infrastructure.database.driver.statements import Database
from infrastructure.database.posts import POSTS
from infrastructure.database.queries import SqlQueries
from infrastructure.database.users import USERS
from infrastructure.database.votes import VOTES
from tests.fakes.clock import NOON
from tests.fakes.ports import FakePorts, fake_ports


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = open_database(database_url)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
def ports() -> FakePorts:
    return fake_ports()


async def sown(
    database: Database, ports: FakePorts, users: int, posts: int, number: int = 1
) -> Seeded:
    told: list[Seeded] = []
    await seed(database, ports, users, posts, number=number, on_batch=told.append)
    return told[-1]


async def rows(database: Database, *columns: Any) -> list[Any]:
    return [tuple(row) for row in await database.fetch_long(select(*columns))]


async def logged_in(database: Database, email: str, password: str, ports: FakePorts) -> User:
    known = await SqlQueries(database).credentials(email)
    assert known
    assert await ports.passwords.verify(password, known.password)
    return known.user


async def test_the_reported_numbers_are_the_stored_ones(
    database: Database, ports: FakePorts
) -> None:
    seeded = await sown(database, ports, 30, 300)

    ((users,),) = await rows(database, func.count(USERS.c.id))
    published = [row[0] for row in await rows(database, POSTS.c.published)]
    ((votes,),) = await rows(database, func.count(VOTES.c.post_id))
    assert (users, len(published), votes) == (30, 300, seeded.votes)
    assert (seeded.users, seeded.posts) == (30, 300)
    assert published.count(False) == seeded.drafts > 0
    assert votes > 100


async def test_a_user_of_each_role_can_log_in(database: Database, ports: FakePorts) -> None:
    seeded = await sown(database, ports, 3, 0)

    assert set(seeded.emails) == {"admin", "moderator", "member"}
    for role, email in seeded.emails.items():
        user = await logged_in(database, email, seeded.password, ports)
        assert (user.role.value, user.is_active) == (role, True)
    assert ports.passwords.work == 1 + 3


async def test_votes_are_counted_and_drafts_have_none(database: Database, ports: FakePorts) -> None:
    await sown(database, ports, 30, 300)

    counted = dict(await rows(database, POSTS.c.id, POSTS.c.votes))
    voted = [post_id for (post_id,) in await rows(database, VOTES.c.post_id)]
    drafts = {
        id_ for id_, public in await rows(database, POSTS.c.id, POSTS.c.published) if not public
    }
    assert counted == {id_: voted.count(id_) for id_ in counted}
    assert drafts.isdisjoint(voted)


async def test_a_search_finds_every_post_with_the_word(
    database: Database, ports: FakePorts
) -> None:
    seeded = await sown(database, ports, 5, 200)
    viewer = await logged_in(database, seeded.emails["admin"], seeded.password, ports)
    texts = await rows(database, POSTS.c.title, POSTS.c.content)
    word = texts[0][1].split()[0].strip(".,;").casefold()

    page = await SqlQueries(database).posts(
        PostList(viewer=viewer, limit=100, terms=terms_of(f'"{word}"')), NOON
    )

    having = [text for text in texts if word in " ".join(text).casefold().replace(".", " ").split()]
    assert len(page.items) == min(len(having), 100) > 0


async def test_a_second_run_adds_more_with_ids_in_order_of_time(
    database: Database, ports: FakePorts
) -> None:
    first = await sown(database, ports, 10, 100)
    second = await sown(database, ports, 10, 100)

    assert first.password != second.password
    assert [".1@" in first.emails["admin"], ".11@" in second.emails["admin"]] == [True, True]
    for table, count in ((USERS, 20), (POSTS, 200)):
        moments = [at for _, at in sorted(await rows(database, table.c.id, table.c.created_at))]
        assert len(moments) == count
        assert moments == sorted(moments)
        assert moments[-1] <= NOON


async def test_an_edited_post_has_another_version_and_was_updated_later(
    database: Database, ports: FakePorts
) -> None:
    await sown(database, ports, 5, 200)

    versions = await rows(database, POSTS.c.version, POSTS.c.created_at, POSTS.c.updated_at)
    assert {version for version, _, _ in versions} == {1, 2}
    for version, created_at, updated_at in versions:
        assert (created_at < updated_at <= NOON) if version > 1 else created_at == updated_at


class Stopped(Exception):
    pass


async def test_a_stopped_run_has_stored_what_it_reported(
    database: Database, ports: FakePorts
) -> None:
    told: list[tuple[int, int]] = []

    def stop_after_the_second_batch(seeded: Seeded) -> None:
        told.append((seeded.users, seeded.posts))
        if len(told) == 3:
            raise Stopped

    with pytest.raises(Stopped):
        await seed(
            database,
            ports,
            3,
            10 * seeds.BATCH,
            number=1,
            on_batch=stop_after_the_second_batch,
        )

    assert told == [(3, 0), (3, seeds.BATCH), (3, 2 * seeds.BATCH)]
    assert await rows(database, func.count(POSTS.c.id)) == [(2 * seeds.BATCH,)]


async def test_the_same_number_gives_the_same_data_and_another_one_gives_others(
    tmp_path: Path, migrated_sqlite: Path
) -> None:
    seen = []
    for place, number in enumerate((7, 7, 8)):
        path = shutil.copy(migrated_sqlite, tmp_path / f"{place}.db")
        database = open_database(f"sqlite:///{path}")
        await database.open()
        await sown(database, fake_ports(), 20, 200, number)
        users = await rows(database, USERS.c.id, USERS.c.email, USERS.c.name, USERS.c.role)
        posts = await rows(
            database,
            POSTS.c.id,
            POSTS.c.owner_id,
            POSTS.c.title,
            POSTS.c.content,
            POSTS.c.published,
        )
        votes = await rows(database, VOTES.c.post_id, VOTES.c.user_id)
        await database.close()
        seen.append((sorted(users), sorted(posts), sorted(votes)))

    assert seen[0] == seen[1]
    assert seen[0] != seen[2]


async def test_the_audit_records_the_added_users(database: Database, ports: FakePorts) -> None:
    await sown(database, ports, 4, 0)

    (entry,) = (await SqlQueries(database).events(EventList(limit=10))).items
    assert (entry.event.name, entry.event.details) == ("users_seeded", {"users": 4})
