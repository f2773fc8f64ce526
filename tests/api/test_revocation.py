"""Shared lookups must not let anybody in who has been put out."""

import asyncio
from itertools import count

from tests.api.gate import Gate

CLIENTS = 64


async def test_nobody_gets_in_by_a_request_that_began_after_the_deactivation(gate: Gate) -> None:
    anna, bert = await gate.person(), await gate.person()
    services = gate.app.state.services
    moments = count()
    over_at: int | None = None
    admitted: list[int] = []
    refused: list[int] = []

    async def ask_on() -> None:
        while len(refused) < 10 * CLIENTS:
            began = next(moments)
            try:
                await services.auth.authenticate(anna.token)
            except Exception:  # noqa: BLE001  whatever it is, it is no admission
                refused.append(began)
            else:
                admitted.append(began)
            await asyncio.sleep(0)  # on SQLite nothing else would ever have its turn

    async def deactivate() -> None:
        nonlocal over_at
        while len(admitted) < 10 * CLIENTS:
            await asyncio.sleep(0)
        await gate.deactivate(anna)
        over_at = next(moments)

    async with asyncio.timeout(30):
        await asyncio.gather(deactivate(), *(ask_on() for _ in range(CLIENTS)))

    assert over_at is not None
    assert len(admitted) >= 10 * CLIENTS
    assert [began for began in admitted if began > over_at] == []
    assert (await gate.me(bert)).status_code == 200
