"""The optional rules for posts."""

from dataclasses import replace
from datetime import timedelta

import pytest

from application.services import Services, build_services
from domain.posts import DAY, PostContent, PostOptions, PostPatch, QuotaReached
from domain.users import Role, User
from tests.factories import PostContentFactory, UserDraftFactory
from tests.fakes.ports import FakePorts


def with_options(ports: FakePorts, options: PostOptions) -> Services:
    return build_services(replace(ports, post_options=options))


async def somebody(services: Services, role: Role = Role.MEMBER) -> User:
    return await services.accounts.register(UserDraftFactory.build(), "correct horse", role)


async def test_a_member_writes_up_to_the_quota_in_a_day(ports: FakePorts) -> None:
    services = with_options(ports, PostOptions(per_day=2))
    anna, bob = await somebody(services), await somebody(services)
    await services.posts.write(PostContentFactory.build(), anna)
    ports.clock.advance(timedelta(hours=1))
    await services.posts.write(PostContentFactory.build(), anna)

    with pytest.raises(QuotaReached, match=r"^No more than 2 posts in 24 hours$") as refusal:
        await services.posts.write(PostContentFactory.build(), anna)
    assert refusal.value.retry_after == 23 * 3600
    await services.posts.write(PostContentFactory.build(), bob)

    ports.clock.advance(timedelta(seconds=refusal.value.retry_after))
    await services.posts.write(PostContentFactory.build(), anna)
    with pytest.raises(QuotaReached):
        await services.posts.write(PostContentFactory.build(), anna)
    assert len(ports.storage.committed.posts) == 4


@pytest.mark.parametrize("role", [Role.MODERATOR, Role.ADMIN])
async def test_moderators_have_no_quota(ports: FakePorts, role: Role) -> None:
    services = with_options(ports, PostOptions(per_day=1))
    moderator = await somebody(services, role)

    for _ in range(3):
        await services.posts.write(PostContentFactory.build(), moderator)


async def test_a_repeated_request_is_answered_even_when_the_quota_is_reached(
    ports: FakePorts,
) -> None:
    services = with_options(ports, PostOptions(per_day=1))
    anna = await somebody(services)
    draft = PostContentFactory.build()

    first, _ = await services.posts.write_once(draft, anna, "key")

    assert (await services.posts.write_once(draft, anna, "key"))[1]
    with pytest.raises(QuotaReached):
        await services.posts.write_once(draft, anna, "another")
    ports.clock.advance(DAY)
    again, replayed = await services.posts.write_once(draft, anna, "another")
    assert not replayed
    assert again.post.id != first.post.id


async def test_a_deleted_post_counts_for_the_quota(ports: FakePorts) -> None:
    services = with_options(ports, PostOptions(per_day=1))
    anna = await somebody(services)
    post = (await services.posts.write(PostContentFactory.build(), anna)).post
    await services.posts.delete(post.id, anna)

    with pytest.raises(QuotaReached):
        await services.posts.write(PostContentFactory.build(), anna)


@pytest.mark.parametrize("published", [True, False])
async def test_posts_of_an_unverified_member_stay_drafts(ports: FakePorts, published: bool) -> None:
    services = with_options(ports, PostOptions(drafts_until_verified=True))
    anna = await somebody(services)
    draft = PostContent(title="Hello", content="First post.", published=published)

    post = (await services.posts.write(draft, anna)).post
    assert not post.content.published
    patched = await services.posts.edit(
        post.id, PostPatch({"published": published, "title": "New"}), anna
    )
    assert (patched.post.content.published, patched.post.content.title) == (False, "New")

    anna.is_verified = True
    edited = await services.posts.edit(post.id, PostPatch({"published": True}), anna)
    assert edited.post.content.published


async def test_a_moderator_can_publish_such_a_draft_and_it_stays_published(
    ports: FakePorts,
) -> None:
    services = with_options(ports, PostOptions(drafts_until_verified=True))
    anna, moderator = await somebody(services), await somebody(services, Role.MODERATOR)
    post = (await services.posts.write(PostContentFactory.build(), anna)).post

    published = await services.posts.edit(post.id, PostPatch({"published": True}), moderator)
    assert published.post.content.published
    assert (
        await services.posts.edit(post.id, PostPatch({"title": "New"}), anna)
    ).post.content.published
    assert (
        await services.posts.write(PostContentFactory.build(), moderator)
    ).post.content.published


async def test_without_options_there_is_no_quota_and_no_forced_draft(services: Services) -> None:
    anna = await somebody(services)

    for _ in range(30):
        assert (await services.posts.write(PostContentFactory.build(), anna)).post.content.published
