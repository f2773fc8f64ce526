"""Shared lookups must not let anybody in who has been put out."""

import asyncio
from itertools import count

from domain.sessions import InvalidToken
from tests.api.client import ApiClient

ROUNDS = 10
ENOUGH = 100


async def test_nobody_gets_in_by_a_request_that_began_after_the_deactivation(
    gate: ApiClient,
) -> None:
    for _ in range(ROUNDS):
        await race(gate)


async def race(gate: ApiClient) -> None:
    """Ask again and again, with no regard to answers, while the user is deactivated."""
    anna = await gate.person()
    authenticate = gate.app.state.services.auth.authenticate
    moments = count()
    admitted: list[int] = []
    refused: list[int] = []

    async def ask(began: int) -> None:
        try:
            await authenticate(anna.token)
        except InvalidToken:
            refused.append(began)
        else:
            admitted.append(began)

    async def deactivate() -> int:
        await gate.deactivate(anna)
        return next(moments)

    asking: list[asyncio.Task[None]] = []
    deactivation: asyncio.Task[int] | None = None
    async with asyncio.timeout(30):
        while len(refused) < ENOUGH:
            asking.append(asyncio.create_task(ask(next(moments))))
            if deactivation is None and len(admitted) >= ENOUGH:
                deactivation = asyncio.create_task(deactivate())
            await asyncio.sleep(0)
        await asyncio.gather(*asking)

    assert deactivation
    over_at = await deactivation
    assert [began for began in admitted if began > over_at] == []
