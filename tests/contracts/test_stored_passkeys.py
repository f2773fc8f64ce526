"""The contract of stored passkeys and of the challenges to them."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from application.ports.passkeys import PasskeyChallenges, PasskeyQueries, PasskeyRepository
from domain.errors import AlreadyGone
from domain.passkeys import (
    AuthenticatorState,
    Passkey,
    PasskeyChallenge,
    PasskeyKnown,
    new_challenge,
    new_enrolment,
)
from domain.users import User, UserId
from tests.contracts.backends import Backend
from tests.factories import NewPasskeyFactory
from tests.fakes.clock import NOON

EVERY_BYTE = bytes(range(256))


async def add(backend: Backend, owner: User, **wanted: Any) -> Passkey:
    async with backend.storage() as uow:
        new = NewPasskeyFactory.build(user_id=owner.id, **wanted)
        passkey = await uow.of(PasskeyRepository).add(new)
        await uow.commit()
    return passkey


async def stored(backend: Backend, owner: User) -> list[tuple[object, ...]]:
    return [values(it) for it in await backend.queries.of(PasskeyQueries).of_user(owner.id)]


def values(passkey: Passkey) -> tuple[object, ...]:
    return tuple(getattr(passkey, name) for name in Passkey.__slots__)


async def test_passkeys_are_kept_as_they_are(backend: Backend) -> None:
    anna, bob = await backend.add_user(), await backend.add_user()
    first = await add(
        backend,
        anna,
        name="n" * 64,
        user_handle=EVERY_BYTE[:64],
        credential__credential_id=EVERY_BYTE * 3,
        credential__public_key=EVERY_BYTE,
        credential__state__sign_count=2**32 - 1,
    )
    second = await add(backend, anna)
    other = await add(backend, bob)

    assert await stored(backend, anna) == [values(first), values(second)]
    assert await stored(backend, bob) == [values(other)]
    owner = await backend.queries.of(PasskeyQueries).owner(EVERY_BYTE * 3)
    assert owner is not None
    assert owner.id == anna.id
    assert await backend.queries.of(PasskeyQueries).owner(EVERY_BYTE) is None


async def test_a_used_and_renamed_passkey_is_saved(backend: Backend) -> None:
    anna = await backend.add_user()
    await add(backend, anna)
    later = NOON + timedelta(hours=1)
    state = AuthenticatorState(sign_count=7, backup_eligible=True, backed_up=False)

    async with backend.storage() as uow:
        await uow.users.get(anna.id)
        (passkey,) = await uow.of(PasskeyRepository).of_user(anna.id)
        passkey.rename("Tablet")
        passkey.use(passkey.user_handle, state, later)
        await uow.of(PasskeyRepository).save(passkey)
        await uow.commit()

    (found,) = await backend.queries.of(PasskeyQueries).of_user(anna.id)
    assert (found.name, found.state, found.last_used_at) == ("Tablet", state, later)


async def test_a_credential_is_registered_once(backend: Backend) -> None:
    anna, bob = await backend.add_user(), await backend.add_user()
    await add(backend, anna, credential__credential_id=b"same")

    for owner in (anna, bob):
        with pytest.raises(PasskeyKnown):
            await add(backend, owner, credential__credential_id=b"same")
    assert len(await stored(backend, anna)) == 1
    assert await stored(backend, bob) == []


async def test_one_or_all_passkeys_of_a_user_are_removed(backend: Backend) -> None:
    anna, bob = await backend.add_user(), await backend.add_user()
    one, two, three = [await add(backend, anna) for _ in range(3)]
    other = await add(backend, bob)
    challenge = new_enrolment(b"challenge", anna.id, b"handle", NOON)

    async with backend.storage() as uow:
        await uow.of(PasskeyRepository).remove(two)
        await uow.commit()
    assert await stored(backend, anna) == [values(one), values(three)]
    async with backend.storage() as uow:
        await uow.of(PasskeyChallenges).add(challenge)
        assert await uow.of(PasskeyRepository).remove_all(anna.id) == 2
        assert await uow.of(PasskeyChallenges).consume(challenge.challenge_hash) is None
        await uow.commit()
    assert await stored(backend, anna) == []
    assert await stored(backend, bob) == [values(other)]


async def test_passkeys_go_with_their_user(backend: Backend) -> None:
    anna = await backend.add_user()
    await add(backend, anna, credential__credential_id=b"hers")

    async with backend.storage() as uow:
        await uow.users.remove(anna)
        await uow.commit()

    assert await stored(backend, anna) == []
    assert await backend.queries.of(PasskeyQueries).owner(b"hers") is None
    with pytest.raises(AlreadyGone):
        await add(backend, replace(anna, id=UserId(10**9)))


async def test_a_challenge_is_consumed_once(backend: Backend) -> None:
    anna = await backend.add_user()
    login = new_challenge(b"login", NOON)
    enrolment = new_enrolment(b"enrolment", anna.id, EVERY_BYTE[:32], NOON)
    async with backend.storage() as uow:
        await uow.of(PasskeyChallenges).add(login)
        await uow.of(PasskeyChallenges).add(enrolment)
        await uow.commit()

    async def consume(challenge: PasskeyChallenge) -> PasskeyChallenge | None:
        async def work(uow: Any) -> PasskeyChallenge | None:
            found: PasskeyChallenge | None = await uow.of(PasskeyChallenges).consume(
                challenge.challenge_hash
            )
            await uow.commit()
            return found

        return await backend.storage.run(work)

    for challenge in (login, enrolment):
        found = await asyncio.gather(*(consume(challenge) for _ in range(5)))
        assert sorted(found, key=bool) == [None] * 4 + [challenge]
        assert await consume(challenge) is None


async def test_a_challenge_that_was_not_committed_as_used_stays(backend: Backend) -> None:
    challenge = new_challenge(b"login", NOON)
    async with backend.storage() as uow:
        await uow.of(PasskeyChallenges).add(challenge)
        await uow.commit()

    for _ in range(2):
        async with backend.storage() as uow:
            assert await uow.of(PasskeyChallenges).consume(challenge.challenge_hash) == challenge
