"""Revocation takes effect on requests that run concurrently."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import count

import httpx
import pytest

from domain.sessions import InvalidToken
from domain.users import Role
from tests.api.client import PASSWORD, ApiClient, Person

ROUNDS = 10
ENOUGH = 100


async def test_no_request_that_starts_after_a_deactivation_succeeds(
    api: ApiClient,
) -> None:
    for _ in range(ROUNDS):
        await race(api)


async def race(api: ApiClient) -> None:
    """Ask again and again, with no regard to answers, while the user is deactivated."""
    anna = await api.person()
    authenticate = api.app.state.services.auth.authenticate
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
        await api.deactivate(anna)
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


# Logins and refreshes, while the sessions of their user are ended

STAGGERED = 20
"""Logins or refreshes that begin one after the other while the sessions are being ended."""


async def change_password(api: ApiClient, anna: Person, _: Person) -> httpx.Response:
    body = {"current_password": PASSWORD, "new_password": "staple battery horse"}
    return await api.client.put("/users/me/password", json=body, headers=anna.headers)


async def deactivate(api: ApiClient, anna: Person, admin: Person) -> httpx.Response:
    body = {"is_active": False}
    return await api.client.patch(f"/users/{anna.id}", json=body, headers=admin.headers)


async def reactivate(api: ApiClient, anna: Person, admin: Person) -> None:
    """Nothing that was ended comes back by this."""
    body = {"is_active": True}
    answer = await api.client.patch(f"/users/{anna.id}", json=body, headers=admin.headers)
    assert answer.status_code == 200


async def log_out_everywhere(api: ApiClient, anna: Person, _: Person) -> httpx.Response:
    return await api.client.delete("/sessions", headers=anna.headers)


Ending = Callable[[ApiClient, Person, Person], Awaitable[httpx.Response]]


async def answers_during(
    ending: Awaitable[httpx.Response], requests: Sequence[Callable[[], Awaitable[httpx.Response]]]
) -> list[httpx.Response]:
    """What `requests` are answered that begin one after the other around `ending`."""
    tasks: list[asyncio.Task[httpx.Response]] = []
    ended: asyncio.Task[httpx.Response] | None = None
    for number, request in enumerate(requests):
        if number == len(requests) // 4:
            ended = asyncio.create_task(_response(ending))
        tasks.append(asyncio.create_task(_response(request())))
        await asyncio.sleep(0.0005)
    assert ended
    assert (await ended).status_code in (200, 204)
    return list(await asyncio.gather(*tasks))


async def _response(request: Awaitable[httpx.Response]) -> httpx.Response:
    return await request


async def working(api: ApiClient, answer: httpx.Response) -> int:
    """How many of the two tokens in the answer to a login or a refresh work."""
    if answer.status_code != 200:
        assert answer.status_code in (401, 503), answer.text
        return 0
    tokens = answer.json()
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    me = await api.client.get("/users/me", headers=headers)
    refreshed = await refresh(api, tokens["refresh_token"])
    return [me.status_code, refreshed.status_code].count(200)


async def refresh(api: ApiClient, token: str) -> httpx.Response:
    return await api.client.post("/refresh", data={"refresh_token": token})


@pytest.mark.parametrize("ending", [change_password, deactivate])
async def test_no_login_with_the_old_password_survives_a_revocation_of_all_sessions(
    api: ApiClient, ending: Ending
) -> None:
    admin = await api.person(role=Role.ADMIN)
    for _ in range(2):
        anna = await api.person()
        log_in = partial(api.log_in, anna.email)

        first = await log_in()
        assert first.status_code == 200
        answers = await answers_during(ending(api, anna, admin), [log_in] * STAGGERED)

        await reactivate(api, anna, admin)
        assert [await working(api, answer) for answer in (first, *answers)] == [0] * (STAGGERED + 1)


@pytest.mark.parametrize("ending", [change_password, deactivate, log_out_everywhere])
async def test_no_refresh_survives_a_revocation_of_all_sessions(
    api: ApiClient, ending: Ending
) -> None:
    admin, anna = await api.person(role=Role.ADMIN), await api.person()
    logins = [await api.log_in(anna.email) for _ in range(STAGGERED)]
    refreshes = [partial(refresh, api, login.json()["refresh_token"]) for login in logins]

    first = await refreshes.pop()()
    assert first.status_code == 200
    answers = await answers_during(ending(api, anna, admin), refreshes)

    await reactivate(api, anna, admin)
    # The new tokens first: trying a rotated one would end its session.
    assert [await working(api, answer) for answer in (first, *answers)] == [0] * STAGGERED
    assert [await working(api, answer) for answer in logins] == [0] * STAGGERED


async def test_a_login_during_a_logout_everywhere_is_live_or_revoked_completely(
    api: ApiClient,
) -> None:
    admin, anna = await api.person(role=Role.ADMIN), await api.person()
    log_in = partial(api.log_in, anna.email)

    answers = await answers_during(log_out_everywhere(api, anna, admin), [log_in] * STAGGERED)

    assert {answer.status_code for answer in answers} <= {200, 503}
    assert (await api.me(anna)).status_code == 401
    assert {await working(api, answer) for answer in answers} <= {0, 2}
