"""The contract of queries."""

import asyncio
from dataclasses import asdict

import pytest

from application.ports.passwords import PasswordHash
from application.ports.queries import PostList
from domain.events import LOGGED_IN, Event
from domain.pages import InvalidCursor
from domain.posts import Post, PostId
from domain.sessions import SessionId
from domain.users import Role, User, UserId
from tests.contracts.backends import Backend
from tests.factories import PostContentFactory
from tests.fakes.clock import NOON

ID_MAX = 2**63 - 1


async def ids(
    backend: Backend,
    viewer: User,
    *,
    owner: User | None = None,
    published: bool | None = None,
    after: tuple[int, ...] | None = None,
) -> list[int]:
    """The posts on one page that has room for all."""
    page = await backend.posts(
        PostList(
            viewer=viewer,
            limit=100,
            after=after,
            owner_id=owner.id if owner else None,
            published=published,
        )
    )
    assert page.next is None
    return [seen.post.id for seen in page.items]


async def pages(backend: Backend, viewer: User, limit: int) -> list[list[int]]:
    """A walk through all posts, by `next`."""
    walk: list[list[int]] = []
    after: tuple[int, ...] | None = None
    while after is not None or not walk:
        page = await backend.posts(PostList(viewer=viewer, limit=limit, after=after))
        walk.append([seen.post.id for seen in page.items])
        assert len(walk) < 20, "the walk does not end"
        after = page.next
    return walk


# Networks


async def test_a_network_is_known_by_the_user_s_own_sessions(backend: Backend) -> None:
    anna, bob = await backend.add_user(), await backend.add_user()
    await backend.add_session(anna, ip="192.0.2.7")
    await backend.add_session(anna, ip="2001:db8:1:2::3")
    await backend.add_session(anna, ip=None)
    await backend.add_session(bob, ip="192.0.2.8")
    knows = backend.queries.has_logged_in_from

    assert await knows(anna.id, "192.0.2.7")
    assert await knows(anna.id, "2001:db8:1:2::/64")
    assert not await knows(anna.id, "192.0.2.8")
    assert not await knows(anna.id, "2001:db8:1:3::/64")
    assert not await knows(UserId(0), "192.0.2.7")
    assert await knows(bob.id, "192.0.2.8")


async def test_a_network_is_new_to_users_who_logged_in_before_and_never_there(
    backend: Backend,
) -> None:
    anna, bob, carl = [await backend.add_user() for _ in range(3)]
    await backend.add_session(anna, ip="192.0.2.7")
    async with backend.storage() as uow:  # carl's sessions were purged
        uow.record(Event.of(LOGGED_IN, "session:4711", actor_id=carl.id, at=NOON))
        uow.record(Event.of("logged_out", "session:4711", actor_id=bob.id, at=NOON))
        await uow.commit()
    is_new = backend.queries.is_new_network

    assert not await is_new(anna.id, "192.0.2.7")
    assert await is_new(anna.id, "192.0.2.8")
    assert not await is_new(bob.id, "192.0.2.7")
    assert await is_new(carl.id, "192.0.2.7")


# Lists


@pytest.mark.parametrize("limit", range(1, 9))
async def test_paging_shows_each_post_once_newest_first(backend: Backend, limit: int) -> None:
    anna, bob = await backend.add_user(), await backend.add_user()
    posts = [await backend.add_post(owner) for owner in (anna, bob, anna, anna, bob, bob, anna)]
    newest_first = [post.id for post in reversed(posts)]

    walk = await pages(backend, anna, limit)

    # Every page is full but the last, which is never empty: `next` is None exactly at the end.
    assert walk == [newest_first[start : start + limit] for start in range(0, 7, limit)]


async def test_the_order_does_not_change_with_an_edit_or_a_vote(backend: Backend) -> None:
    anna = await backend.add_user()
    posts = [await backend.add_post(anna) for _ in range(3)]
    async with backend.storage() as uow:
        seen = await uow.posts.details(posts[0].id, anna.id, NOON)
        assert seen is not None
        seen.post.version += 1
        await uow.posts.save(seen.post)
        await uow.commit()
    await backend.vote(posts[1].id, anna)

    assert await ids(backend, anna) == [post.id for post in reversed(posts)]


async def test_paging_during_writes_shows_each_standing_post_once(
    backend: Backend,
) -> None:
    anna = await backend.add_user()
    posts = [await backend.add_post(anna) for _ in range(6)]
    first = await backend.posts(PostList(viewer=anna, limit=2))
    for removed in (posts[4], posts[3]):  # the one that the walk stands on, and the next one
        await backend.remove_post(removed)
    await backend.add_post(anna)

    rest = await backend.posts(PostList(viewer=anna, limit=10, after=first.next))

    assert [seen.post.id for seen in first.items] == [posts[5].id, posts[4].id]
    assert [seen.post.id for seen in rest.items] == [posts[2].id, posts[1].id, posts[0].id]


async def test_an_empty_list_has_one_empty_page(backend: Backend) -> None:
    anna = await backend.add_user()

    assert await pages(backend, anna, 20) == [[]]


async def test_a_page_starts_strictly_after_any_key(backend: Backend) -> None:
    anna = await backend.add_user()
    older, newer = await backend.add_post(anna), await backend.add_post(anna)

    assert await ids(backend, anna, after=(ID_MAX,)) == [newer.id, older.id]
    assert await ids(backend, anna, after=(newer.id,)) == [older.id]
    assert await ids(backend, anna, after=(older.id,)) == []
    assert await ids(backend, anna, after=(0,)) == []


@pytest.mark.parametrize("after", [(), (1, 2)])
async def test_a_malformed_sort_key_is_refused(backend: Backend, after: tuple[int, ...]) -> None:
    anna = await backend.add_user()

    with pytest.raises(InvalidCursor):
        await backend.posts(PostList(viewer=anna, limit=1, after=after))


async def test_only_their_owner_and_moderators_see_drafts(backend: Backend) -> None:
    anna, bob = await backend.add_user(), await backend.add_user()
    moderator = await backend.add_user(role=Role.MODERATOR)
    admin = await backend.add_user(role=Role.ADMIN)
    post = await backend.add_post(anna)
    draft = await backend.add_post(anna, published=False)
    draft_of_bob = await backend.add_post(bob, published=False)

    everything = [draft_of_bob.id, draft.id, post.id]
    assert await ids(backend, anna) == [draft.id, post.id]
    assert await ids(backend, bob) == [draft_of_bob.id, post.id]
    assert await ids(backend, moderator) == everything
    assert await ids(backend, admin) == everything


async def test_hidden_drafts_leave_no_gaps_on_pages(backend: Backend) -> None:
    anna, bob = await backend.add_user(), await backend.add_user()
    shown: list[Post] = []
    for _ in range(3):
        shown.append(await backend.add_post(anna))
        await backend.add_post(anna, published=False)

    newest, middle, oldest = (post.id for post in reversed(shown))
    assert await pages(backend, bob, 2) == [[newest, middle], [oldest]]
    assert await pages(backend, bob, 3) == [[newest, middle, oldest]]


async def test_lists_are_filtered_by_owner_and_by_published(backend: Backend) -> None:
    anna, bob = await backend.add_user(), await backend.add_user()
    moderator = await backend.add_user(role=Role.MODERATOR)
    post = await backend.add_post(anna)
    draft = await backend.add_post(anna, published=False)
    of_bob = await backend.add_post(bob)
    draft_of_bob = await backend.add_post(bob, published=False)

    assert await ids(backend, anna, owner=anna) == [draft.id, post.id]
    assert await ids(backend, anna, owner=bob) == [of_bob.id]
    assert await ids(backend, anna, published=True) == [of_bob.id, post.id]
    assert await ids(backend, anna, published=False) == [draft.id]
    assert await ids(backend, anna, owner=bob, published=False) == []
    assert await ids(backend, moderator, owner=bob, published=False) == [draft_of_bob.id]
    assert await ids(backend, anna, owner=anna, published=True, after=(draft.id,)) == [post.id]
    assert await ids(backend, moderator, owner=moderator) == []


async def test_a_list_and_a_single_read_show_the_same_post(backend: Backend) -> None:
    anna, bob = await backend.add_user(name=None), await backend.add_user(name="Bob")
    for owner in (anna, bob):
        await backend.add_post(owner)
    voted = await backend.add_post(bob)
    await backend.vote(voted.id, anna)

    page = await backend.posts(PostList(viewer=anna, limit=3))

    assert [seen.owner_name for seen in page.items] == ["Bob", "Bob", None]
    assert [seen.voted for seen in page.items] == [True, False, False]
    singles = [await backend.post(seen.post.id, anna) for seen in page.items]
    assert [asdict(seen) for seen in page.items] == [asdict(seen) for seen in singles if seen]


# By key


async def test_a_post_is_shown_draft_or_not(backend: Backend) -> None:
    anna, bob = await backend.add_user(name="Anna"), await backend.add_user()
    for published in (True, False):
        post = await backend.add_post(anna, published=published)

        seen = await backend.post(post.id, bob)

        assert seen is not None
        assert asdict(seen.post) == asdict(post)
        assert (seen.owner_name, seen.votes, seen.voted) == ("Anna", 0, False)


async def test_only_the_voter_sees_a_post_as_voted(backend: Backend) -> None:
    anna, bob = await backend.add_user(), await backend.add_user()
    post, other = await backend.add_post(anna), await backend.add_post(anna)
    await backend.vote(post.id, bob)

    seen = {
        (number, viewer.id): await backend.post(number, viewer)
        for number in (post.id, other.id)
        for viewer in (anna, bob)
    }

    assert [key for key, found in seen.items() if found and found.voted] == [(post.id, bob.id)]


async def test_credentials_are_found_regardless_of_case(backend: Backend) -> None:
    anna = await backend.add_user(email="Änna@Example.com", password=PasswordHash("hers"))
    await backend.add_user(password=PasswordHash("another's"))

    for email in (
        "Änna@Example.com",
        "ÄNNA@EXAMPLE.COM",
        "änna@example.com",
        "a\u0308nna@example.com",
    ):
        found = await backend.queries.credentials(email)
        assert found is not None
        assert found.password == "hers"
        assert asdict(found.user) == asdict(anna)


NOT_HERS = [
    "",
    "\0",
    "anna@example.com\0",
    "_nna@example.com",
    "%",
    "' OR 1=1 --",
    "a" * 100_000,
    "\ud800@example.com",
    "\U0010ffff",
]


@pytest.mark.parametrize("email", NOT_HERS, ids=lambda email: ascii(email[:20]))
async def test_an_unknown_address_finds_nothing(backend: Backend, email: str) -> None:
    await backend.add_user(email="anna@example.com")

    assert await backend.queries.credentials(email) is None


async def test_space_around_an_address_does_not_count(backend: Backend) -> None:
    anna = await backend.add_user(email="anna@example.com")

    found = await backend.queries.credentials(" anna@example.com ")

    assert found is not None
    assert found.user.id == anna.id


async def test_a_session_is_found_with_its_user(backend: Backend) -> None:
    anna, bob = await backend.add_user(), await backend.add_user()
    sessions = [await backend.add_session(user) for user in (anna, bob, anna)]

    for session, user in zip(sessions, (anna, bob, anna), strict=True):
        found = await backend.queries.session_user(session.id)
        assert found is not None
        assert [asdict(part) for part in found] == [asdict(session), asdict(user)]


async def test_a_change_of_the_user_is_visible_at_once(backend: Backend) -> None:
    anna = await backend.add_user()
    session = await backend.add_session(anna)
    await backend.deactivate(anna)

    found = await backend.queries.session_user(session.id)
    assert found is not None
    assert not found[1].is_active


async def test_everything_of_a_removed_user_is_gone(backend: Backend) -> None:
    anna, bob = await backend.add_user(email="anna@example.com"), await backend.add_user()
    session, post = await backend.add_session(anna), await backend.add_post(anna)
    await backend.remove_user(anna.id)

    assert await backend.queries.session_user(session.id) is None
    assert await backend.queries.user(anna.id) is None
    assert await backend.queries.credentials("anna@example.com") is None
    assert await backend.post(post.id, bob) is None
    assert await ids(backend, bob) == []


@pytest.mark.parametrize("number", [0, -1, ID_MAX])
async def test_an_unknown_id_finds_nothing(backend: Backend, number: int) -> None:
    anna = await backend.add_user()
    await backend.add_post(anna)
    await backend.add_session(anna)

    assert await backend.queries.user(UserId(number)) is None
    assert await backend.queries.session_user(SessionId(number)) is None
    assert await backend.post(PostId(number), anna) is None
    of_nobody = PostList(viewer=anna, limit=100, owner_id=UserId(number))
    assert (await backend.posts(of_nobody)).items == []


async def test_concurrent_lookups_each_get_their_own_result(backend: Backend) -> None:
    users = [await backend.add_user() for _ in range(5)]
    sessions = [await backend.add_session(user) for user in users]
    posts = [await backend.add_post(user) for user in users]
    for user, post in zip(users, posts, strict=True):
        await backend.vote(post.id, user)
    unknown = SessionId(ID_MAX)

    async with asyncio.timeout(30):
        found = await asyncio.gather(
            *(backend.queries.session_user(session.id) for session in sessions * 20),
            *(backend.queries.session_user(unknown) for _ in range(3)),
        )
        seen = await asyncio.gather(
            *(backend.post(post.id, user) for post in posts for user in users)
        )

    assert [part[0].id if part else None for part in found] == [
        *(session.id for session in sessions * 20),
        *([None] * 3),
    ]
    assert all(part is None or part[0].user_id == part[1].id for part in found)
    assert [(view.post.id, view.voted) if view else None for view in seen] == [
        (post.id, post.owner_id == user.id) for post in posts for user in users
    ]


async def test_a_read_shows_everything_committed_before_it(backend: Backend) -> None:
    """Also when it shares its query with others who asked earlier."""
    anna = await backend.add_user()
    session = await backend.add_session(anna)

    async def ask() -> bool:
        found = await backend.queries.session_user(session.id)
        assert found is not None
        return found[1].is_active

    earlier = [asyncio.create_task(ask()) for _ in range(20)]
    await backend.deactivate(anna)
    async with asyncio.timeout(30):
        later = await asyncio.gather(*(ask() for _ in range(20)))
        await asyncio.gather(*earlier)

    assert not any(later)


async def test_a_cancelled_lookup_disturbs_no_other(backend: Backend) -> None:
    anna = await backend.add_user()
    session = await backend.add_session(anna)

    asked = [asyncio.create_task(backend.queries.session_user(session.id)) for _ in range(30)]
    await asyncio.sleep(0)
    for task in asked[::2]:
        task.cancel()
    async with asyncio.timeout(30):
        answers = await asyncio.gather(*asked, return_exceptions=True)

    found = [answer for answer in answers[1::2] if isinstance(answer, tuple)]
    assert len(found) == 15
    assert await backend.queries.session_user(session.id) is not None


async def test_changing_a_returned_copy_changes_nothing(backend: Backend) -> None:
    anna = await backend.add_user(email="anna@example.com", name="Anna")
    session, post = await backend.add_session(anna), await backend.add_post(anna, title="Title")

    async def read() -> tuple[list[User], Post]:
        login = await backend.queries.session_user(session.id)
        known = await backend.queries.credentials("anna@example.com")
        user = await backend.queries.user(anna.id)
        seen = await backend.post(post.id, anna)
        assert login is not None
        assert known is not None
        assert user is not None
        assert seen is not None
        return [login[1], known.user, user], seen.post

    users, seen_post = await read()
    for user in users:
        user.name = "Changed"
    seen_post.content = PostContentFactory.build(title="Changed")

    users, seen_post = await read()
    assert [user.name for user in users] == ["Anna"] * 3
    assert seen_post.content.title == "Title"


async def test_a_storage_that_serves_is_ready(backend: Backend) -> None:
    assert await backend.queries.ready() == []
