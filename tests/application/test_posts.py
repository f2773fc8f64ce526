from dataclasses import asdict
from datetime import timedelta

import pytest

from application.ports.queries import PostList
from application.posts import PostService
from application.services import Services
from domain.posts import BadTitle, NotPostOwner, PostContent, PostId, PostNotFound, PostPatch
from domain.users import Role, User
from tests.factories import PostContentFactory, UserDraftFactory, post_patch
from tests.fakes.ports import FakePorts


@pytest.fixture
def posts(services: Services) -> PostService:
    return services.posts


async def somebody(services: Services, role: Role = Role.MEMBER) -> User:
    return await services.accounts.register(UserDraftFactory.build(), "correct horse", role)


@pytest.fixture
async def anna(services: Services) -> User:
    return await somebody(services)


@pytest.fixture
async def stranger(services: Services) -> User:
    return await somebody(services)


@pytest.fixture
async def moderator(services: Services) -> User:
    return await somebody(services, Role.MODERATOR)


async def is_hidden_from(user: User, post_id: PostId, posts: PostService) -> bool:
    """Whether everything that can be done to a post answers as if there were none."""
    detail = f"^Post with id: {post_id} was not found$"
    with pytest.raises(PostNotFound, match=detail):
        await posts.read(post_id, user)
    with pytest.raises(PostNotFound, match=detail):
        await posts.edit(post_id, post_patch(), user)
    with pytest.raises(PostNotFound, match=detail):
        await posts.delete(post_id, user)
    listed = await posts.list(PostList(viewer=user, limit=100))
    return post_id not in [seen.post.id for seen in listed.items]


async def test_a_written_post_belongs_to_its_author_and_can_be_read(
    ports: FakePorts, posts: PostService, anna: User, stranger: User
) -> None:
    written = await posts.write(PostContent(title=" Title ", content="Content"), anna)

    assert (written.post.content.title, written.post.content.content) == ("Title", "Content")
    assert (written.post.owner_id, written.owner_name) == (anna.id, anna.name)
    assert (written.post.content.published, written.post.version) == (True, 1)
    assert (written.votes, written.voted) == (0, False)
    assert written.post.created_at == ports.clock.now
    assert asdict(await posts.read(written.post.id, stranger)) == asdict(written)


async def test_a_broken_rule_stores_nothing(
    ports: FakePorts, posts: PostService, anna: User
) -> None:
    with pytest.raises(BadTitle):
        await posts.write(PostContentFactory.build(title=" "), anna)

    assert ports.storage.committed.posts == {}


async def test_a_missing_post_is_hidden_from_everybody(
    posts: PostService, anna: User, moderator: User
) -> None:
    for user in (anna, moderator):
        assert await is_hidden_from(user, PostId(999), posts)


async def test_a_draft_is_hidden_from_strangers(
    posts: PostService, anna: User, stranger: User
) -> None:
    draft = await posts.write(PostContentFactory.build(published=False), anna)

    assert await is_hidden_from(stranger, draft.post.id, posts)


@pytest.mark.parametrize("role", [Role.MODERATOR, Role.ADMIN])
async def test_a_draft_is_visible_to_its_owner_and_moderators(
    services: Services, posts: PostService, anna: User, role: Role
) -> None:
    draft = await posts.write(PostContentFactory.build(published=False), anna)
    above = await somebody(services, role)

    for user in (anna, above):
        assert (await posts.read(draft.post.id, user)).post.id == draft.post.id
        listed = await posts.list(PostList(viewer=user, limit=100))
        assert [seen.post.id for seen in listed.items] == [draft.post.id]
    await posts.edit(draft.post.id, post_patch(), above)
    await posts.delete(draft.post.id, above)


async def test_an_edit_is_stored_with_a_new_version(
    ports: FakePorts, posts: PostService, anna: User, stranger: User
) -> None:
    written = await posts.write(PostContentFactory.build(published=True), anna)
    ports.clock.advance(timedelta(hours=1))

    edited = await posts.edit(written.post.id, PostPatch({"title": "New", "content": "new"}), anna)

    assert asdict(edited.post) == asdict(written.post) | {
        "content": asdict(written.post.content) | {"title": "New", "content": "new"},
        "updated_at": ports.clock.now,
        "version": 2,
    }
    assert asdict(await posts.read(written.post.id, stranger)) == asdict(edited)


async def test_an_edit_by_a_moderator_keeps_the_owner(
    posts: PostService, anna: User, moderator: User
) -> None:
    written = await posts.write(PostContentFactory.build(), anna)

    edited = await posts.edit(written.post.id, post_patch(title="Tidy"), moderator)

    assert (edited.post.content.title, edited.post.owner_id) == ("Tidy", anna.id)
    assert edited.owner_name == anna.name


async def test_a_post_that_becomes_a_draft_is_hidden(
    posts: PostService, anna: User, stranger: User
) -> None:
    written = await posts.write(PostContentFactory.build(), anna)

    await posts.edit(written.post.id, post_patch(published=False), anna)

    assert await is_hidden_from(stranger, written.post.id, posts)


async def test_a_stranger_changes_nothing(posts: PostService, anna: User, stranger: User) -> None:
    written = await posts.write(PostContentFactory.build(), anna)

    with pytest.raises(NotPostOwner):
        await posts.edit(written.post.id, post_patch(), stranger)
    with pytest.raises(NotPostOwner):
        await posts.delete(written.post.id, stranger)

    assert asdict(await posts.read(written.post.id, anna)) == asdict(written)


async def test_an_edit_that_breaks_a_rule_changes_nothing(posts: PostService, anna: User) -> None:
    written = await posts.write(PostContentFactory.build(), anna)

    with pytest.raises(BadTitle):
        await posts.edit(written.post.id, post_patch(title=""), anna)

    assert asdict(await posts.read(written.post.id, anna)) == asdict(written)


async def test_a_deleted_post_is_gone(posts: PostService, anna: User, moderator: User) -> None:
    for user in (anna, moderator):
        written = await posts.write(PostContentFactory.build(), anna)

        await posts.delete(written.post.id, user)

        assert await is_hidden_from(anna, written.post.id, posts)


async def test_the_audit_records_changes_and_not_refusals(
    ports: FakePorts, posts: PostService, anna: User, stranger: User, moderator: User
) -> None:
    ports.storage.committed.events.clear()
    post_id = (await posts.write(PostContentFactory.build(), anna)).post.id
    await posts.edit(post_id, post_patch(), moderator)
    with pytest.raises(NotPostOwner):
        await posts.edit(post_id, post_patch(), stranger)
    with pytest.raises(NotPostOwner):
        await posts.delete(post_id, stranger)
    await posts.delete(post_id, anna)

    told = [entry.event for entry in ports.storage.committed.events]
    assert [(event.name, event.actor_id) for event in told] == [
        ("post_written", anna.id),
        ("post_edited", moderator.id),
        ("post_deleted", anna.id),
    ]
    assert {event.subject for event in told} == {f"post:{post_id}"}


async def test_the_author_s_view_keeps_votes(
    services: Services, posts: PostService, anna: User, stranger: User
) -> None:
    written = await posts.write(PostContentFactory.build(), anna)
    await services.votes.cast(written.post.id, stranger)

    edited = await posts.edit(written.post.id, post_patch(), anna)

    assert (edited.votes, edited.voted) == (1, False)
    assert (await posts.read(written.post.id, stranger)).voted


async def test_a_list_is_newest_first_and_continues_after_its_last_post(
    posts: PostService, anna: User
) -> None:
    written = [(await posts.write(PostContentFactory.build(), anna)).post.id for _ in range(3)]

    first = await posts.list(PostList(viewer=anna, limit=2))
    second = await posts.list(PostList(viewer=anna, limit=2, after=first.next))

    assert [seen.post.id for seen in first.items + second.items] == written[::-1]
    assert (first.next, second.next) == ((written[1],), None)
