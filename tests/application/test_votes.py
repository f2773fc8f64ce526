import pytest

from application.services import Services
from domain.posts import PostNotFound
from domain.users import Role, User
from tests.factories import PostContentFactory, UserDraftFactory
from tests.fakes.ports import FakePorts


@pytest.fixture
async def anna(services: Services) -> User:
    return await services.accounts.register(UserDraftFactory.build(), "correct horse")


@pytest.fixture
async def bob(services: Services) -> User:
    return await services.accounts.register(UserDraftFactory.build(), "correct horse")


async def test_a_vote_is_cast_once_and_withdrawn_once(
    services: Services, anna: User, bob: User
) -> None:
    post = (await services.posts.write(PostContentFactory.build(), anna)).post

    for _ in range(2):
        await services.votes.cast(post.id, bob)
        seen = await services.posts.read(post.id, bob)
        assert (seen.votes, seen.voted) == (1, True)
    for _ in range(2):
        await services.votes.withdraw(post.id, bob)
        seen = await services.posts.read(post.id, bob)
        assert (seen.votes, seen.voted) == (0, False)


async def test_only_its_owner_and_moderators_vote_on_a_draft(
    ports: FakePorts, services: Services, anna: User, bob: User
) -> None:
    moderator = await services.accounts.register(
        UserDraftFactory.build(), "correct horse", Role.MODERATOR
    )
    post = (await services.posts.write(PostContentFactory.build(published=False), anna)).post

    for change in (services.votes.cast, services.votes.withdraw):
        with pytest.raises(PostNotFound):
            await change(post.id, bob)
    for voter in (anna, moderator):
        await services.votes.cast(post.id, voter)

    assert set(ports.storage.committed.votes) == {(post.id, anna.id), (post.id, moderator.id)}
