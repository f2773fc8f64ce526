"""One application for each test, on real adapters and each of the two databases."""

from collections.abc import AsyncIterator

import pytest

from application.ports.limits import Limits
from infrastructure.metrics import Metrics
from tests.api.client import ApiClient, Watch, open_gate
from tests.fakes.limits import FakeLimits

CORS_ORIGIN = "https://app.example.org"


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
async def api(database_url: str, clock: Watch, limits: Limits) -> AsyncIterator[ApiClient]:
    async with open_gate(
        database_url,
        limits=limits,
        clock=clock,
        cors_origins=[CORS_ORIGIN],
        log_email=True,
        metrics=Metrics([]),
    ) as api:
        yield api
