"""Posts from a real standby whose replay the tests can pause."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from typing import Any

import pytest
from sqlalchemy import Select, literal_column, select

from application.ports.queries import PostDetails, PostList, Sort
from application.services import Ports, Services, build_services
from domain.errors import Unavailable
from domain.posts import Post, PostId, PostNotFound
from domain.search import terms_of
from domain.sessions import SessionId
from domain.users import ProfileChange, Role, User, UserId
from infrastructure.clock import system_clock
from infrastructure.database.driver.engine import open_database
from infrastructure.database.driver.postgresql import PostgresDatabase
from infrastructure.database.driver.statements import Database
from infrastructure.database.queries import SqlQueries
from infrastructure.database.replica import LAG_MAX, Replica, ReplicaPosts
from infrastructure.database.requester import REQUESTER
from infrastructure.database.unit_of_work import SqlStorage
from tests.contracts.backends import SqlBackend
from tests.factories import PostContentFactory, post_patch
from tests.fakes.limits import FakeLimits
from tests.fakes.mail import FakeMailer
from tests.fakes.outgoing import FakeOutgoing
from tests.fakes.passwords import FakePasswords
from tests.fakes.sealer import FakeSealer
from tests.fakes.tokens import FakeTokens
from tests.fakes.totp import FakeTotpCodes
from tests.postgres import PostgresServer
from tests.standby import TIME_BUDGET, Standby, connected, running_standby

TIMEOUT = 0.3
ONE: Select[Any] = select(literal_column("1"))


@pytest.fixture(scope="module")
def standby(postgres: PostgresServer) -> Iterator[Standby]:
    with running_standby(postgres) as standby:
        yield standby


@dataclass(frozen=True, kw_only=True)
class Instance:
    """A process of the service: nothing that a user did is kept in it."""

    database: Database
    name: str
    """The database's."""
    standby: Standby
    replica: Replica
    services: Services
    sessions: dict[UserId, SessionId] = field(default_factory=dict)

    @property
    def backend(self) -> SqlBackend:
        """Changes and reads that know of no replica."""
        return SqlBackend(self.database)

    async def user(self, user: User) -> User:
        """As authentication finds them with their next request, whose requester they are then."""
        if user.id not in self.sessions:
            self.sessions[user.id] = (await self.backend.add_session(user)).id
        found = await self.backend.queries.session_user(self.sessions[user.id])
        assert found
        return found[1]

    async def writes(self, user: User) -> int:
        await self.user(user)
        requester = REQUESTER.get()
        assert requester
        return requester.writes

    async def act(self, act: "Act", user: User, post_id: PostId) -> PostId:
        """Have the user do it, in a request of theirs."""
        return await act(self.services, await self.user(user), post_id)

    async def read(self, post_id: PostId, reader: User) -> dict[str, Any] | None:
        try:
            return asdict(await self.services.posts.read(post_id, await self.user(reader)))
        except PostNotFound:
            return None

    async def page(self, reader: User, query: str = "") -> dict[PostId, dict[str, Any]]:
        wanted = PostList(viewer=await self.user(reader), limit=100, terms=terms_of(query))
        return by_id((await self.services.posts.list(wanted)).items)

    async def change(self, sql: str, *arguments: object) -> None:
        """Run `sql` on the primary, behind the service's back: nobody's writes are counted."""
        async with connected(self.standby.primary, self.name) as connection:
            await connection.execute(sql, *arguments)

    async def until_it_is_well(self) -> None:
        """Look at the standby until it is read from: the primary writes a little by itself."""
        async with asyncio.timeout(TIME_BUDGET):
            while True:
                await self.standby.catch_up()
                await self.replica.look()
                with suppress(Unavailable):
                    await self.replica.fetch_shared(ONE)
                    return

    async def reads_from_the_standby(self, reader: User, post: Post) -> bool:
        """Whether the reader is shown what only the standby still has."""
        async with self.standby.paused():
            await self.change("UPDATE posts SET version = 4711 WHERE id = $1", post.id)
            seen, listed = await self.read(post.id, reader), (await self.page(reader))[post.id]
        await self.change("UPDATE posts SET version = $2 WHERE id = $1", post.id, post.version)
        await self.standby.catch_up()
        assert seen
        assert seen == listed
        return bool(seen["post"]["version"] == post.version)


def by_id(items: list[PostDetails]) -> dict[PostId, dict[str, Any]]:
    return {seen.post.id: asdict(seen) for seen in items}


@asynccontextmanager
async def started(standby: Standby, url: str) -> AsyncIterator[Instance]:
    database = open_database(url)
    name = url.rpartition("/")[2]
    # Half of the timeout is the standby's.
    server = PostgresDatabase(
        standby.server.url(name), size=5, timeout=2 * TIMEOUT, name="the replica"
    )
    replica = Replica(server, database)
    queries = SqlQueries(database)
    ports = Ports(
        queries=queries,
        storage=SqlStorage(database, counts_writes=True),
        replica=ReplicaPosts(replica, queries),
        tokens=FakeTokens(),
        passwords=FakePasswords(),
        limits=FakeLimits(),
        mailer=FakeMailer(),
        outgoing=FakeOutgoing(),
        sealer=FakeSealer(),
        totp=FakeTotpCodes(),
        clock=system_clock,
    )
    services = build_services(ports)
    try:
        instance = Instance(
            database=database, name=name, standby=standby, replica=replica, services=services
        )
        await instance.until_it_is_well()
        yield instance
    finally:
        await replica.close()
        await database.close()


@pytest.fixture
async def instance(postgres_url: str, standby: Standby) -> AsyncIterator[Instance]:
    """One that has found the standby well, and looks again when the test says so."""
    async with started(standby, postgres_url) as instance:
        yield instance


# Read your writes

Act = Callable[[Services, User, PostId], Awaitable[PostId]]


async def write(services: Services, author: User, _: PostId) -> PostId:
    return (await services.posts.write(PostContentFactory.build(title="Fox"), author)).post.id


async def write_once(services: Services, author: User, _: PostId) -> PostId:
    draft = PostContentFactory.build(title="Fox")
    return (await services.posts.write_once(draft, author, "key"))[0].post.id


async def edit(services: Services, author: User, post_id: PostId) -> PostId:
    await services.posts.edit(post_id, post_patch(title="Fox"), author)
    return post_id


async def vote(services: Services, author: User, post_id: PostId) -> PostId:
    await services.votes.cast(post_id, author)
    return post_id


async def withdraw(services: Services, author: User, post_id: PostId) -> PostId:
    await services.votes.withdraw(post_id, author)
    return post_id


async def delete(services: Services, author: User, post_id: PostId) -> PostId:
    await services.posts.delete(post_id, author)
    return post_id


async def rename(services: Services, author: User, post_id: PostId) -> PostId:
    await services.accounts.edit(author, ProfileChange(name="Renamed", renames=True))
    return post_id


@pytest.mark.parametrize("act", [write, write_once, edit, vote, rename])
async def test_authors_see_their_writes_and_others_the_standby_s_state(
    instance: Instance, act: Act
) -> None:
    anna, bob = await instance.backend.add_user(), await instance.backend.add_user()
    old = await instance.backend.add_post(anna, title="Red fox")
    async with instance.standby.paused():
        id_ = await instance.act(act, anna, old.id)
        now = await instance.backend.post(id_, anna)
        assert now

        assert await instance.read(id_, anna) == asdict(now)
        assert (await instance.page(anna))[id_] == asdict(now)
        assert (await instance.page(anna, "fox"))[id_] == asdict(now)
        shown = await instance.page(bob)
        assert shown == await instance.page(bob, "fox")
        assert set(shown) == {old.id}
        assert shown[old.id] == await instance.read(old.id, bob)
        assert shown[old.id]["post"]["content"]["title"] == "Red fox"
        assert shown[old.id]["votes"] == 0
        assert shown[old.id]["owner_name"] == anna.name

    for reader in (anna, bob):
        seen = await instance.backend.post(id_, reader)
        assert seen
        assert (await instance.page(reader))[id_] == asdict(seen)
    assert await instance.reads_from_the_standby(anna, now.post)


async def test_authors_see_their_deletions_at_once(instance: Instance) -> None:
    anna = await instance.backend.add_user()
    posts = [await instance.backend.add_post(anna, title="Red fox") for _ in range(2)]
    for post in posts:
        await instance.backend.vote(post.id, anna)
    async with instance.standby.paused():
        await instance.act(withdraw, anna, posts[0].id)
        seen = await instance.read(posts[0].id, anna)
        assert seen
        assert (seen["votes"], seen["voted"]) == (0, False)
        await instance.act(delete, anna, posts[1].id)
        assert await instance.read(posts[1].id, anna) is None
        assert set(await instance.page(anna)) == {posts[0].id}
        assert set(await instance.page(anna, "fox")) == {posts[0].id}


async def test_moderators_see_their_changes_of_others_posts(instance: Instance) -> None:
    anna, bob = await instance.backend.add_user(), await instance.backend.add_user()
    moderator = await instance.backend.add_user(role=Role.MODERATOR)
    edited, deleted = [await instance.backend.add_post(anna, title="Red fox") for _ in range(2)]
    async with instance.standby.paused():
        await instance.act(edit, moderator, edited.id)
        await instance.act(delete, moderator, deleted.id)

        shown = await instance.page(moderator)
        assert {id_: seen["post"]["content"]["title"] for id_, seen in shown.items()} == {
            edited.id: "Fox"
        }
        assert set(await instance.page(bob)) == {edited.id, deleted.id}


async def test_another_process_shows_authors_their_writes_too(
    instance: Instance, postgres_url: str
) -> None:
    anna = await instance.backend.add_user()
    post = await instance.backend.add_post(anna, title="Red fox")
    async with started(instance.standby, postgres_url) as other:
        async with instance.standby.paused():
            await instance.act(edit, anna, post.id)
            seen = await other.read(post.id, anna)
        now = await instance.backend.post(post.id, anna)

        assert seen
        assert seen["post"]["content"]["title"] == "Fox"
        assert now
        assert await other.reads_from_the_standby(anna, now.post)


async def test_concurrent_writes_are_all_counted(instance: Instance) -> None:
    anna, bob = await instance.backend.add_user(), await instance.backend.add_user()
    post = await instance.backend.add_post(bob)

    await asyncio.gather(
        *(instance.act(write, anna, post.id) for _ in range(8)),
        instance.act(vote, anna, post.id),
    )

    assert await instance.writes(anna) == 9
    assert await instance.writes(bob) == 0


async def test_a_failed_write_is_not_counted(instance: Instance) -> None:
    anna = await instance.backend.add_user()
    post = await instance.backend.add_post(anna)

    with pytest.raises(PostNotFound):
        await instance.act(edit, anna, PostId(post.id + 1))
    await instance.change("ALTER TABLE events ADD CHECK (name <> 'post_edited')")
    with pytest.raises(Exception, match="events"):
        await instance.act(edit, anna, post.id)

    assert await instance.writes(anna) == 0


async def test_a_user_missing_on_the_standby_reads_from_it_until_they_write(
    instance: Instance,
) -> None:
    bob = await instance.backend.add_user()
    post = await instance.backend.add_post(bob)
    async with instance.standby.paused():
        await instance.change("UPDATE posts SET version = 9 WHERE id = $1", post.id)
        anna = await instance.backend.add_user()
        seen = await instance.read(post.id, anna)
        assert seen
        assert seen["post"]["version"] == 1

        await instance.act(vote, anna, post.id)
        seen = await instance.read(post.id, anna)
        assert seen
        assert (seen["post"]["version"], seen["voted"]) == (9, True)


# What the standby has


async def test_all_kinds_of_lists_equal_those_of_the_primary(instance: Instance) -> None:
    anna, bob = await instance.backend.add_user(), await instance.backend.add_user()
    moderator = await instance.backend.add_user(role=Role.MODERATOR)
    for number in range(6):
        owner, title = ((anna, "Red fox"), (bob, "Red deer"))[number % 2]
        post = await instance.backend.add_post(owner, title=title, published=number != 2)
        for voter in (anna, bob)[: number % 3]:
            await instance.backend.vote(post.id, voter)
    kinds = [
        PostList(
            viewer=viewer, limit=limit, sort=sort, owner_id=owner, published=published, terms=terms
        )
        for viewer, limit, sort, owner, published, terms in product(
            (anna, bob, moderator),
            (2, 100),
            Sort,
            (None, bob.id),
            (None, False),
            ((), terms_of('"red fox"'), terms_of("nowhere")),
        )
    ]
    expected = [await instance.backend.posts(wanted) for wanted in kinds]
    assert any(page.next for page in expected)
    assert any(page.items == [] for page in expected)
    async with instance.standby.paused():
        await instance.change("DELETE FROM posts")
        for wanted, page in zip(kinds, expected, strict=True):
            shown = await instance.services.posts.list(
                replace(wanted, viewer=await instance.user(wanted.viewer))
            )
            assert (list(map(asdict, shown.items)), shown.next) == (
                list(map(asdict, page.items)),
                page.next,
            )


async def test_concurrent_reads_of_many_posts_each_fit_the_viewer(
    instance: Instance,
) -> None:
    anna, bob = await instance.backend.add_user(), await instance.backend.add_user()
    posts = [await instance.backend.add_post(anna) for _ in range(5)]
    await instance.backend.vote(posts[0].id, bob)
    async with instance.standby.paused():
        await instance.change("UPDATE posts SET version = 9")
        asked = [(post.id, reader) for post in posts for reader in (anna, bob)]
        shown = await asyncio.gather(*(instance.read(*ask) for ask in asked))

    assert [(seen["post"]["id"], seen["post"]["version"]) for seen in shown if seen] == [
        (id_, 1) for id_, _ in asked
    ]
    assert [seen["voted"] for seen in shown if seen] == [False, True] + [False] * 8


async def test_pages_after_the_first_are_read_from_the_primary(instance: Instance) -> None:
    """Else a walk that began on the primary would miss what the standby does not have yet."""
    anna = await instance.backend.add_user()
    for _ in range(3):
        await instance.backend.add_post(anna)
    async with instance.standby.paused():
        await instance.change("UPDATE posts SET version = 9")
        walk: list[int] = []
        after: tuple[int, ...] | None = None
        while after or not walk:
            page = await instance.services.posts.list(
                PostList(viewer=await instance.user(anna), limit=1, after=after)
            )
            walk += [seen.post.version for seen in page.items]
            after = page.next

    assert walk == [1, 9, 9]


async def test_a_post_missing_on_the_standby_is_read_from_the_primary(
    instance: Instance,
) -> None:
    anna, bob = await instance.backend.add_user(), await instance.backend.add_user()
    draft = await instance.backend.add_post(anna, published=False)
    async with instance.standby.paused():
        new = await instance.backend.add_post(anna)
        await instance.change("UPDATE posts SET published = true WHERE id = $1", draft.id)

        assert await instance.read(new.id, bob)
        assert await instance.read(draft.id, bob)
        assert await instance.read(PostId(new.id + 1), bob) is None


async def test_votes_are_decided_by_the_primary(instance: Instance) -> None:
    anna, bob = await instance.backend.add_user(), await instance.backend.add_user()
    post = await instance.backend.add_post(anna)
    async with instance.standby.paused():
        await instance.change("UPDATE posts SET published = false WHERE id = $1", post.id)
        assert await instance.read(post.id, bob)

        with pytest.raises(PostNotFound):
            await instance.act(vote, bob, post.id)


# When it is not well


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What the log says of the replica."""
    caplog.set_level(logging.INFO, "gatepost.replica")
    return lambda: [
        record.message for record in caplog.records if record.name == "gatepost.replica"
    ]


AWAY = "posts are read from the primary, not from the replica: "
BACK = "posts are read from the replica"


async def test_without_a_standby_the_primary_answers_and_it_is_logged_once(
    instance: Instance, lines: Callable[[], list[str]]
) -> None:
    anna = await instance.backend.add_user()
    post = await instance.backend.add_post(anna)
    instance.standby.server.stop(immediate=True)
    try:
        for _ in range(3):
            assert await instance.read(post.id, anna)
            assert await instance.page(anna)
            await instance.replica.look()
        assert await instance.services.ports.queries.ready() == []
    finally:
        instance.standby.server.start()
    await instance.until_it_is_well()

    assert await instance.reads_from_the_standby(anna, post)
    assert [line.partition(": ")[0] + ": " for line in lines()[:1]] == [AWAY]
    assert lines()[1:] == [BACK]


async def test_a_frozen_standby_delays_only_the_first_reads(
    instance: Instance, lines: Callable[[], list[str]]
) -> None:
    anna = await instance.backend.add_user()
    post = await instance.backend.add_post(anna)
    assert await instance.reads_from_the_standby(anna, post)
    instance.standby.server.freeze()
    try:
        begin = time.monotonic()
        async with asyncio.timeout(10):
            # The first batch, those who wait behind it, and a list.
            await asyncio.gather(*(instance.read(post.id, anna) for _ in range(5)))
        waited = time.monotonic() - begin
        await instance.replica.look()
        begin = time.monotonic()
        for _ in range(20):
            assert await instance.page(anna)
        all_the_others = time.monotonic() - begin
    finally:
        instance.standby.server.thaw()

    assert waited < 2.0
    assert all_the_others < 20 * TIMEOUT / 2
    assert lines() == [f"{AWAY}TimeoutError"]
    await instance.until_it_is_well()
    assert await instance.reads_from_the_standby(anna, post)


async def test_a_lagging_standby_is_not_used_until_it_has_caught_up(
    instance: Instance, lines: Callable[[], list[str]]
) -> None:
    anna, bob = await instance.backend.add_user(), await instance.backend.add_user()
    post = await instance.backend.add_post(anna)
    async with instance.standby.paused():
        await instance.change("UPDATE posts SET version = 9")
        for _ in range(LAG_MAX):
            seen = await instance.read(post.id, bob)
            assert seen
            assert seen["post"]["version"] == 1
            await instance.replica.look()
        seen = await instance.read(post.id, bob)
        assert seen
        assert seen["post"]["version"] == 9
    await instance.until_it_is_well()

    assert lines() == [f"{AWAY}it is more than 5 seconds behind", BACK]
