"""The contract of rows that refer to deleted ones: when they are refused."""

from collections.abc import Awaitable, Callable

import pytest

from application.ports.idempotency import IdempotencyRecord
from application.ports.storage import UnitOfWork
from domain.errors import AlreadyGone
from domain.one_time_codes import OneTimeCode, Purpose
from domain.posts import PostId
from domain.sessions import SessionId
from domain.users import UserId
from tests.contracts.backends import Backend
from tests.contracts.test_idempotency import record_of
from tests.factories import NewPostFactory
from tests.fakes.clock import NOON

NOBODY = UserId(2**62)
NOTHING = PostId(2**62)
NO_SESSION = SessionId(2**62)
CODE = OneTimeCode(
    user_id=NOBODY,
    purpose=Purpose.VERIFICATION,
    code_hash="hash",
    email="nobody@example.com",
    expires_at=NOON,
)
KEPT: IdempotencyRecord = record_of(NOBODY)

ADD: dict[str, Callable[[UnitOfWork, UserId], Awaitable[object]]] = {
    # begin: posts only
    "a post of nobody": lambda uow, _: uow.posts.add(NewPostFactory.build(owner_id=NOBODY)),
    "a vote for nothing": lambda uow, anna: uow.votes.add(NOTHING, anna),
    "an answer to nobody": lambda uow, _: uow.idempotency.save(KEPT),
    # end: posts only
    "a code of nobody": lambda uow, _: uow.codes.add(CODE),
    "a token of no session": lambda uow, _: uow.access_tokens.add(
        "ab" * 32, session_id=NO_SESSION, issued_at=NOON, expires_at=NOON
    ),
}

pytestmark = pytest.mark.parametrize("add", ADD.values(), ids=ADD.keys())


async def test_the_commit_refuses_it(
    backend: Backend, add: Callable[[UnitOfWork, UserId], Awaitable[object]]
) -> None:
    anna = await backend.add_user()

    async with backend.storage() as uow:
        await add(uow, anna.id)
        with pytest.raises(AlreadyGone):
            await uow.commit()
        with pytest.raises(RuntimeError):
            await uow.commit()


async def test_the_next_statement_refuses_it(
    backend: Backend, add: Callable[[UnitOfWork, UserId], Awaitable[object]]
) -> None:
    anna = await backend.add_user()

    async with backend.storage() as uow:
        await add(uow, anna.id)
        with pytest.raises(AlreadyGone):
            await uow.users.get(anna.id)
        with pytest.raises(RuntimeError):
            await uow.commit()


async def test_nothing_is_refused_without_a_commit(
    backend: Backend, add: Callable[[UnitOfWork, UserId], Awaitable[object]]
) -> None:
    anna = await backend.add_user()

    async with backend.storage() as uow:
        await add(uow, anna.id)
