"""The contract of pending registrations."""

import asyncio

from application.ports.passwords import PasswordHash
from application.ports.registrations import Registrations
from domain.registrations import NewRegistration, PendingRegistration
from tests.contracts.backends import Backend
from tests.fakes.clock import NOON

NEW = NewRegistration(email="änna@example.com", name=None, requested_at=NOON)
HASH = PasswordHash("a hash")


async def added(backend: Backend, code_hash: str = "") -> PendingRegistration:
    async with backend.storage() as uow:
        pending = await uow.of(Registrations).add(NEW, HASH)
        if code_hash:
            await uow.of(Registrations).set_code(pending.id, code_hash)
        await uow.commit()
    return pending


async def consume(
    backend: Backend, code_hash: str
) -> tuple[PendingRegistration, PasswordHash] | None:
    async with backend.storage() as uow:
        found = await uow.of(Registrations).consume(code_hash)
        await uow.commit()
    return found


async def test_several_registrations_of_one_address_are_kept(backend: Backend) -> None:
    first, second = await added(backend), await added(backend)

    async with backend.storage() as uow:
        for pending in (first, second):
            assert await uow.of(Registrations).get(pending.id) == NEW.stored_as(pending.id)
        await uow.of(Registrations).remove(first.id)
        assert await uow.of(Registrations).get(first.id) is None
        await uow.commit()


async def test_the_last_code_of_a_registration_is_consumed_once(backend: Backend) -> None:
    pending = await added(backend, "first")
    async with backend.storage() as uow:
        await uow.of(Registrations).set_code(pending.id, "second")
        await uow.commit()

    assert await consume(backend, "first") is None
    answers = await asyncio.gather(*(consume(backend, "second") for _ in range(3)))

    (found,) = filter(None, answers)
    assert (found[0].id, found[0].email, found[1]) == (pending.id, NEW.email, HASH)


async def test_a_code_is_not_consumed_without_a_commit(backend: Backend) -> None:
    await added(backend, "code")
    async with backend.storage() as uow:
        assert await uow.of(Registrations).consume("code")

    assert await consume(backend, "code")
