"""Strong login: fresh sessions."""

from collections.abc import Awaitable
from datetime import timedelta

import httpx
from fastapi import FastAPI
from pydantic import BaseModel

from api.dependencies import FreshUser
from api.routing import protected_router
from domain.scopes import Scope
from tests.api.client import Watch, application, on_one_database, open_gate, problem_of
from tests.fakes.ports import fake_ports

router = protected_router("test")


class Body(BaseModel):
    number: int


@router.post("/fresh", scope=Scope.SESSION_ONLY, responses={401: {}})
async def fresh(body: Body, user: FreshUser) -> int:
    return user.id + body.number


def app_with_a_fresh_route() -> FastAPI:
    app = application(fake_ports())
    app.include_router(router)
    return app


@on_one_database
async def test_a_stale_session_is_refused_before_its_body_is_looked_at(
    database_url: str, clock: Watch
) -> None:
    async with open_gate(database_url, clock=clock, app=app_with_a_fresh_route()) as api:
        anna = await api.person()

        def call(body: object) -> Awaitable[httpx.Response]:
            return api.client.post("/fresh", json=body, headers=anna.headers)

        answer = await call({"number": 1})
        assert (answer.status_code, answer.json()) == (200, anna.id + 1)
        assert (await call({"number": "one"})).status_code == 422

        clock.ahead = timedelta(seconds=601)
        for body in ({"number": 1}, {"number": "one"}):
            answer = await call(body)
            problem_of(answer, 401, "stale_login")
            assert answer.headers["WWW-Authenticate"] == (
                'Bearer error="insufficient_user_authentication", max_age="600"'
            )
        assert (await api.me(anna)).status_code == 200


def test_a_fresh_route_says_so_in_its_document() -> None:
    operation = app_with_a_fresh_route().openapi()["paths"]["/fresh"]["post"]

    assert "stale_login" in operation["responses"]["401"]["description"]
