"""The application on real adapters, on each of the two databases."""

from collections.abc import AsyncIterator
from functools import cache
from typing import Any

import pytest
from fastapi import FastAPI

from application.ports.limits import Limits
from infrastructure.metrics import Metrics
from tests.api.browser import Browser, browser_of
from tests.api.client import ApiClient, Watch, application, open_gate
from tests.fakes.limits import FakeLimits
from tests.fakes.ports import fake_ports

CORS_ORIGIN = "https://app.example.org"
OPTIONS: dict[str, Any] = {"cors_origins": (CORS_ORIGIN,), "log_email": True}


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A migrated, empty database of its own for each test."""
    name = {"sqlite": "sqlite_url", "postgresql": "postgres_url"}[request.param]
    url: str = request.getfixturevalue(name)
    return url


@pytest.fixture
def clock() -> Watch:
    return Watch()


@pytest.fixture
def limits() -> Limits:
    """None, but for tests that are about them."""
    return FakeLimits()


@pytest.fixture
def app() -> FastAPI:
    """The application that all tests share, each with ports of its own: making one takes longer
    than most tests do. Tests that look at what it counts override this with one of their own.
    """
    return _shared_application()


@cache
def _shared_application() -> FastAPI:
    return application(fake_ports(), **OPTIONS, metrics=Metrics([]))


@pytest.fixture
async def api(
    database_url: str, clock: Watch, limits: Limits, app: FastAPI
) -> AsyncIterator[ApiClient]:
    async with open_gate(database_url, limits=limits, clock=clock, app=app) as api:
        yield api


@pytest.fixture
async def browser(api: ApiClient) -> AsyncIterator[Browser]:
    """A browser over plain http, as in development."""
    app = application(api.ports, plain_cookies=True)
    async with browser_of(app) as browser:
        yield browser
