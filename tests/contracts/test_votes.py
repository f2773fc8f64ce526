"""The contract of votes."""

import asyncio

import pytest

from domain.errors import AlreadyGone
from domain.posts import PostId
from domain.users import User, UserId
from tests.contracts.backends import Backend

NOBODY = UserId(2**63 - 1)
NOTHING = PostId(2**63 - 1)


async def cast(backend: Backend, post_id: PostId, voter: UserId) -> None:
    async with backend.storage() as uow:
        await uow.votes.add(post_id, voter)
        await uow.commit()


async def withdraw(backend: Backend, post_id: PostId, voter: UserId) -> None:
    async with backend.storage() as uow:
        await uow.votes.remove(post_id, voter)
        await uow.commit()


async def seen(backend: Backend, post_id: PostId, viewer: User) -> tuple[int, bool]:
    found = await backend.post(post_id, viewer)
    assert found is not None
    return found.votes, found.voted


async def test_a_vote_counts_once_however_often_it_is_cast(backend: Backend) -> None:
    anna, bob = await backend.add_user(), await backend.add_user()
    post, other = await backend.add_post(anna), await backend.add_post(anna)

    for voter in (bob, bob, anna):
        await cast(backend, post.id, voter.id)

    assert await seen(backend, post.id, bob) == (2, True)
    assert await seen(backend, other.id, bob) == (0, False)


async def test_a_vote_is_withdrawn_once(backend: Backend) -> None:
    anna, bob = await backend.add_user(), await backend.add_user()
    post = await backend.add_post(anna)
    for voter in (anna, bob):
        await cast(backend, post.id, voter.id)

    for _ in range(2):
        await withdraw(backend, post.id, bob.id)

    assert await seen(backend, post.id, bob) == (1, False)
    assert await seen(backend, post.id, anna) == (1, True)


async def test_a_vote_changes_nothing_else_of_a_post(backend: Backend) -> None:
    anna = await backend.add_user()
    post = await backend.add_post(anna)

    await cast(backend, post.id, anna.id)

    found = await backend.post(post.id, anna)
    assert found is not None
    assert (found.post.version, found.post.updated_at) == (1, post.updated_at)


async def test_a_vote_without_a_commit_is_rolled_back(backend: Backend) -> None:
    anna = await backend.add_user()
    post = await backend.add_post(anna)

    async with backend.storage() as uow:
        await uow.votes.add(post.id, anna.id)

    assert await seen(backend, post.id, anna) == (0, False)


async def test_a_vote_for_a_missing_post_or_of_a_missing_user_is_refused(backend: Backend) -> None:
    anna = await backend.add_user()
    post = await backend.add_post(anna)

    for post_id, voter in ((NOTHING, anna.id), (post.id, NOBODY)):
        with pytest.raises(AlreadyGone):
            await cast(backend, post_id, voter)
        await withdraw(backend, post_id, voter)

    assert await seen(backend, post.id, anna) == (0, False)


async def test_concurrent_votes_are_all_counted(backend: Backend) -> None:
    anna = await backend.add_user()
    voters = [await backend.add_user() for _ in range(12)]
    post = await backend.add_post(anna)

    await asyncio.gather(*(cast(backend, post.id, voter.id) for voter in voters * 2))
    assert await seen(backend, post.id, voters[0]) == (12, True)

    await asyncio.gather(*(withdraw(backend, post.id, voter.id) for voter in voters[:7] * 2))
    assert await seen(backend, post.id, voters[0]) == (5, False)


async def test_a_voter_who_casts_and_withdraws_concurrently_has_at_most_one_vote(
    backend: Backend,
) -> None:
    anna = await backend.add_user()
    post = await backend.add_post(anna)

    await asyncio.gather(
        *(change(backend, post.id, anna.id) for _ in range(10) for change in (cast, withdraw))
    )

    assert await seen(backend, post.id, anna) in [(0, False), (1, True)]


async def test_the_votes_of_a_removed_user_are_subtracted(backend: Backend) -> None:
    anna, bob = await backend.add_user(), await backend.add_user()
    posts = [await backend.add_post(owner) for owner in (anna, anna, bob)]
    for post in posts:
        for voter in (anna, bob):
            await cast(backend, post.id, voter.id)

    await backend.remove_user(bob.id)

    assert [await seen(backend, post.id, anna) for post in posts[:2]] == [(1, True)] * 2


async def test_a_post_is_removed_while_votes_are_cast(backend: Backend) -> None:
    anna = await backend.add_user()
    voters = [await backend.add_user() for _ in range(6)]
    post, other = await backend.add_post(anna), await backend.add_post(anna)

    votes = asyncio.gather(
        *(cast(backend, post.id, voter.id) for voter in voters), return_exceptions=True
    )
    await backend.remove_post(post)
    outcomes = await votes

    assert {type(outcome) for outcome in outcomes} <= {AlreadyGone, type(None)}
    assert await backend.post(post.id, anna) is None
    assert await seen(backend, other.id, anna) == (0, False)
