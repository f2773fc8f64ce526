"""Authenticator apps and recovery codes, as each storage keeps them."""

import asyncio
from datetime import timedelta

import pytest

from application.ports.factors import FactorQueries, FactorRepository, FactorStatus
from domain.errors import AlreadyGone
from domain.factors import Totp
from domain.users import User
from tests.contracts.backends import Backend
from tests.factories import UserFactory
from tests.fakes.clock import NOON

LATER = NOON + timedelta(minutes=1)


def totp_of(user: User, *, step: int = 7) -> Totp:
    return Totp(
        user_id=user.id,
        sealed_secret="sealed",
        created_at=NOON,
        confirmed_at=LATER,
        last_step=step,
    )


async def put(backend: Backend, totp: Totp) -> None:
    async with backend.storage() as uow:
        await uow.of(FactorRepository).put_totp(totp)
        await uow.commit()


async def totp(backend: Backend, user: User) -> Totp | None:
    async with backend.storage() as uow:
        return await uow.of(FactorRepository).totp(user.id)


async def claim(backend: Backend, user: User, step: int) -> bool:
    async with backend.storage() as uow:
        claimed = await uow.of(FactorRepository).claim_step(user.id, step)
        await uow.commit()
    return claimed


async def put_codes(backend: Backend, user: User, *hashes: str) -> None:
    async with backend.storage() as uow:
        await uow.of(FactorRepository).replace_recovery_codes(user.id, hashes)
        await uow.commit()


async def consume(backend: Backend, user: User, code_hash: str) -> bool:
    async with backend.storage() as uow:
        consumed = await uow.of(FactorRepository).consume_recovery_code(user.id, code_hash)
        await uow.commit()
    return consumed


async def status(backend: Backend, user: User) -> FactorStatus:
    return await backend.queries.of(FactorQueries).status(user.id)


async def test_an_app_is_stored_and_replaced(backend: Backend) -> None:
    anna, bert = await backend.add_user(), await backend.add_user()
    assert await totp(backend, anna) is None

    for step in (7, 8):
        await put(backend, totp_of(anna, step=step))

    stored = await totp(backend, anna)
    assert stored is not None
    assert (stored.user_id, stored.sealed_secret, stored.last_step) == (anna.id, "sealed", 8)
    assert (stored.created_at, stored.confirmed_at) == (NOON, LATER)
    assert await totp(backend, bert) is None
    assert (await status(backend, anna)).totp_confirmed_at == LATER


@pytest.mark.parametrize(("step", "ok"), [(6, False), (7, False), (8, True), (2**40, True)])
async def test_only_a_later_step_is_claimed(backend: Backend, step: int, ok: bool) -> None:
    anna, bert = await backend.add_user(), await backend.add_user()
    await put(backend, totp_of(anna))
    await put(backend, totp_of(bert))

    assert await claim(backend, anna, step) is ok

    stored, other = await totp(backend, anna), await totp(backend, bert)
    assert stored is not None
    assert other is not None
    assert (stored.last_step, other.last_step) == (step if ok else 7, 7)


async def test_of_racing_claims_of_a_step_one_succeeds(backend: Backend) -> None:
    anna = await backend.add_user()
    await put(backend, totp_of(anna))

    claims = await asyncio.gather(*(claim(backend, anna, 8) for _ in range(5)))

    assert sorted(claims) == [False] * 4 + [True]


async def test_nothing_is_claimed_without_an_app(backend: Backend) -> None:
    assert not await claim(backend, await backend.add_user(), 8)


async def test_a_removed_app_is_gone(backend: Backend) -> None:
    anna = await backend.add_user()
    await put(backend, totp_of(anna))

    async with backend.storage() as uow:
        for _ in range(2):
            await uow.of(FactorRepository).remove_totp(anna.id)
        await uow.commit()

    assert await totp(backend, anna) is None
    assert await status(backend, anna) == FactorStatus(
        totp_confirmed_at=None, recovery_codes_left=0
    )


async def test_recovery_codes_work_once_and_for_their_user(backend: Backend) -> None:
    anna, bert = await backend.add_user(), await backend.add_user()
    await put_codes(backend, anna, "a1", "a2", "a3")
    await put_codes(backend, bert, "b1")

    assert not await consume(backend, bert, "a1")
    assert [await consume(backend, anna, "a1") for _ in range(2)] == [True, False]
    assert (await status(backend, anna)).recovery_codes_left == 2
    assert (await status(backend, bert)).recovery_codes_left == 1


async def test_of_racing_uses_of_a_recovery_code_one_succeeds(backend: Backend) -> None:
    anna = await backend.add_user()
    await put_codes(backend, anna, "a1", "a2")

    uses = await asyncio.gather(*(consume(backend, anna, "a1") for _ in range(5)))

    assert sorted(uses) == [False] * 4 + [True]


async def test_new_recovery_codes_replace_those_of_the_user(backend: Backend) -> None:
    anna, bert = await backend.add_user(), await backend.add_user()
    await put_codes(backend, bert, "b1")
    await put_codes(backend, anna, "a1", "a2")

    await put_codes(backend, anna, "a3")

    assert not await consume(backend, anna, "a1")
    assert (await status(backend, anna)).recovery_codes_left == 1
    assert (await status(backend, bert)).recovery_codes_left == 1


async def test_factors_go_with_their_user(backend: Backend) -> None:
    anna = await backend.add_user()
    await put(backend, totp_of(anna))
    await put_codes(backend, anna, "a1")

    await backend.remove_user(anna.id)

    assert await totp(backend, anna) is None
    assert not await consume(backend, anna, "a1")


async def test_nobody_has_no_factors(backend: Backend) -> None:
    nobody = UserFactory.build(id=2**40)

    with pytest.raises(AlreadyGone):
        await put(backend, totp_of(nobody))
