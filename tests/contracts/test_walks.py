"""Paging through lists in every order during writes."""

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from application.ports.queries import PostDetails, PostList, Sort
from domain.pages import PAGE_BYTES, InvalidCursor
from domain.posts import Post
from domain.search import terms_of
from domain.users import User
from infrastructure.database import post_lists
from infrastructure.database.driver.statements import Clause, Database, Record
from tests.contracts.backends import Backend, SqlBackend
from tests.factories import post_patch
from tests.fakes.clock import NOON

ID_MAX = 2**63 - 1


class Walk:
    """Through the list `wanted`, as far as it has been walked."""

    def __init__(self, backend: Backend, wanted: PostList) -> None:
        self._backend = backend
        self._wanted = wanted
        self.seen: list[PostDetails] = []
        self.is_over = False

    async def turn(self) -> None:
        """See the next page, if there is one."""
        if self.is_over:
            return
        page = await self._backend.posts(self._wanted)
        self.seen += page.items
        self.is_over = page.next is None
        assert self.is_over or len(page.items) == self._wanted.limit
        self._wanted = replace(self._wanted, after=page.next)

    async def to_the_end(self) -> list[PostDetails]:
        while not self.is_over:
            await self.turn()
        return self.seen


@pytest.mark.parametrize("limit", [1, 2, 3, 10])
async def test_every_order_shows_all_posts(backend: Backend, limit: int) -> None:
    anna, bob = await backend.add_user(), await backend.add_user()
    posts = [await backend.add_post(anna, content=f"word{n % 2}") for n in range(6)]
    ids = [post.id for post in posts]
    for at, voters in ((1, [anna, bob]), (4, [anna, bob]), (2, [bob])):
        for voter in voters:
            await backend.vote(ids[at], voter)

    async def order(sort: Sort, query: str = "") -> list[int]:
        wanted = PostList(viewer=bob, limit=limit, sort=sort, terms=terms_of(query))
        found = await Walk(backend, wanted).to_the_end()
        return [ids.index(seen.post.id) for seen in found]

    assert await order(Sort.NEWEST) == [5, 4, 3, 2, 1, 0]
    assert await order(Sort.OLDEST) == [0, 1, 2, 3, 4, 5]
    assert await order(Sort.TOP) == [4, 1, 2, 5, 3, 0]
    assert await order(Sort.TOP, "word0") == [4, 2, 0]
    assert await order(Sort.OLDEST, "word1") == [1, 3, 5]


@pytest.mark.parametrize(
    ("sort", "first", "behind", "last"),
    [
        (Sort.NEWEST, (ID_MAX,), 2, (0,)),
        (Sort.OLDEST, (0,), 2, (ID_MAX,)),
        (Sort.TOP, (ID_MAX, ID_MAX), 2, (-1, 0)),
    ],
)
async def test_every_order_continues_strictly_after_any_key(
    backend: Backend, sort: Sort, first: tuple[int, ...], behind: int, last: tuple[int, ...]
) -> None:
    anna = await backend.add_user()
    for _ in range(behind):
        await backend.add_post(anna)

    for after, length in ((first, behind), (last, 0)):
        page = await backend.posts(PostList(viewer=anna, limit=10, after=after, sort=sort))
        assert len(page.items) == length


@pytest.mark.parametrize(
    ("sort", "after"),
    [(Sort.OLDEST, (1, 2)), (Sort.OLDEST, ()), (Sort.TOP, (1,)), (Sort.TOP, (1, 2, 3))],
)
async def test_a_key_of_another_order_is_refused(
    backend: Backend, sort: Sort, after: tuple[int, ...]
) -> None:
    anna = await backend.add_user()

    with pytest.raises(InvalidCursor):
        await backend.posts(PostList(viewer=anna, limit=1, after=after, sort=sort))


async def remove(backend: Backend, post: Post) -> None:
    async with backend.storage() as uow:
        found = await uow.posts.details(post.id, post.owner_id, NOON)
        assert found is not None
        await uow.posts.remove(found.post)
        await uow.commit()


async def edit(backend: Backend, post: Post, editor: User) -> None:
    async with backend.storage() as uow:
        found = await uow.posts.details(post.id, editor.id, NOON)
        assert found is not None
        draft = post_patch(content="fox again")
        found.post.edit(draft, actor=editor, now=NOON)
        await uow.posts.save(found.post)
        await uow.commit()


CHANGES = st.lists(
    st.tuples(st.sampled_from(["add", "edit", "remove", "turn"]), st.integers(0, 50)), max_size=25
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    sort=st.sampled_from(Sort),
    limit=st.integers(1, 4),
    votes=st.lists(st.integers(0, 2), max_size=8),
    changes=CHANGES,
)
async def test_paging_during_writes_shows_every_standing_post_once(
    backend: Backend, sort: Sort, limit: int, votes: list[int], changes: list[tuple[str, int]]
) -> None:
    anna, bob, eve = [await backend.add_user() for _ in range(3)]
    standing: list[Post] = []
    for number in votes:
        standing.append(await backend.add_post(anna, content="fox"))
        for voter in (bob, eve)[:number]:
            await backend.vote(standing[-1].id, voter)
    throughout = {post.id for post in standing}
    known = set(throughout)
    # Of this example's posts alone: one database serves all examples.
    walk = Walk(
        backend,
        PostList(viewer=eve, limit=limit, sort=sort, owner_id=anna.id, terms=terms_of("fox")),
    )

    await walk.turn()
    for change, at in changes:
        if change == "turn":
            await walk.turn()
        elif change == "add":
            standing.append(await backend.add_post(anna, content="fox"))
            known.add(standing[-1].id)
        elif standing and change == "remove":
            post = standing.pop(at % len(standing))
            throughout.discard(post.id)
            await remove(backend, post)
        elif standing:
            await edit(backend, standing[at % len(standing)], anna)

    seen = await walk.to_the_end()

    shown = [item.post.id for item in seen]
    assert len(shown) == len(set(shown))
    assert throughout <= set(shown) <= known
    keys = [sort.key(item) for item in seen]
    assert all((a < b) is (sort is Sort.OLDEST) for a, b in pairwise(keys))


# Long posts

LONG = 100_000


@pytest.mark.parametrize("limit", [1, 5, 100])
@pytest.mark.parametrize("character", ["a", "🦊", "\x01", '"'])
async def test_a_page_ends_after_one_mebibyte_and_the_list_continues(
    backend: Backend, character: str, limit: int
) -> None:
    anna = await backend.add_user()
    lengths = [LONG, 5, LONG, LONG, 1, *[LONG] * 12, 5]
    ids = [(await backend.add_post(anna, content=character * n)).id for n in lengths]

    for sort in Sort:
        seen, wanted, pages = [], PostList(viewer=anna, limit=limit, sort=sort), 0
        while True:
            page = await backend.posts(wanted)
            sizes = [
                len(json.dumps(item.post.content.content, ensure_ascii=False).encode())
                for item in page.items
            ]
            assert sum(sizes[:-1]) < PAGE_BYTES
            assert page.next is None or sum(sizes) >= PAGE_BYTES or len(sizes) == limit
            seen += [item.post.id for item in page.items]
            pages += 1
            if page.next is None:
                break
            wanted = replace(wanted, after=page.next)

        assert seen == (ids if sort is Sort.OLDEST else ids[::-1])


class Weighing:
    """A database that adds up the content it hands out."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.dialect = database.dialect
        self.loaded = 0

    async def fetch_long(self, clause: Clause, **values: Any) -> Sequence[Record]:
        records = await self._database.fetch_long(clause, **values)
        texts = [value for record in records for value in record if isinstance(value, str)]
        self.loaded += sum(len(text.encode()) for text in texts)
        return records


async def test_no_more_content_is_loaded_than_fits_on_the_page(backend: Backend) -> None:
    if not isinstance(backend, SqlBackend):
        return
    anna = await backend.add_user()
    for _ in range(20):
        await backend.add_post(anna, content="🦊" * LONG)
    database = Weighing(backend.database)
    wanted = PostList(viewer=anna, limit=100)
    page = await post_lists.posts(cast("Database", database), wanted, NOON)

    assert len(page.items) == 3
    assert database.loaded < 2 * PAGE_BYTES
