"""Challenges of logins, as each storage keeps them."""

import asyncio
from datetime import datetime, timedelta

from application.ports.challenges import ChallengeRepository
from domain.challenges import CHALLENGE_LIFE, TRIES_MAX, LoginChallenge, new_challenge
from domain.users import User
from tests.contracts.backends import PASSWORD, Backend
from tests.fakes.clock import NOON


async def add(backend: Backend, user: User, token: str = "a token") -> LoginChallenge:
    challenge = new_challenge(user, token, PASSWORD, NOON)
    async with backend.storage() as uow:
        await uow.of(ChallengeRepository).add(challenge)
        await uow.commit()
    return challenge


async def hit(backend: Backend, token_hash: str, now: datetime = NOON) -> LoginChallenge | None:
    async with backend.storage() as uow:
        found = await uow.of(ChallengeRepository).hit(token_hash, now)
        await uow.commit()
    return found


async def consume(backend: Backend, challenge: LoginChallenge) -> bool:
    async with backend.storage() as uow:
        consumed = await uow.of(ChallengeRepository).consume(challenge.token_hash)
        await uow.commit()
    return consumed


async def test_a_challenge_is_found_by_its_hash(backend: Backend) -> None:
    anna = await backend.add_user()
    challenge, _ = await add(backend, anna), await add(backend, anna, "another")

    assert await hit(backend, challenge.token_hash) == challenge
    assert await hit(backend, "a token") is None


async def test_a_challenge_takes_so_many_tries(backend: Backend) -> None:
    anna = await backend.add_user()
    challenge, other = await add(backend, anna), await add(backend, anna, "another")

    tries = [await hit(backend, challenge.token_hash) for _ in range(TRIES_MAX + 2)]

    assert [found is not None for found in tries] == [True] * TRIES_MAX + [False] * 2
    assert await hit(backend, other.token_hash) == other


async def test_racing_tries_are_counted_one_by_one(backend: Backend) -> None:
    challenge = await add(backend, await backend.add_user())

    tries = await asyncio.gather(*(hit(backend, challenge.token_hash) for _ in range(9)))

    assert sum(found is not None for found in tries) == TRIES_MAX


async def test_an_expired_challenge_is_not_found(backend: Backend) -> None:
    challenge = await add(backend, await backend.add_user())
    end = NOON + CHALLENGE_LIFE

    assert await hit(backend, challenge.token_hash, end) is None
    assert await hit(backend, challenge.token_hash, end - timedelta(microseconds=1)) is not None


async def test_of_racing_consumptions_one_succeeds(backend: Backend) -> None:
    anna = await backend.add_user()
    challenge, other = await add(backend, anna), await add(backend, anna, "another")

    consumed = await asyncio.gather(*(consume(backend, challenge) for _ in range(5)))

    assert sorted(consumed) == [False] * 4 + [True]
    assert await hit(backend, challenge.token_hash) is None
    assert await hit(backend, other.token_hash) is not None


async def test_challenges_go_with_their_user(backend: Backend) -> None:
    anna = await backend.add_user()
    challenge = await add(backend, anna)

    await backend.remove_user(anna.id)

    assert await hit(backend, challenge.token_hash) is None
