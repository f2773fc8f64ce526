"""One application a test, on real adapters, on each of the two databases."""

from collections.abc import AsyncIterator

import pytest

from tests.api.gate import Gate, open_gate

CORS_ORIGIN = "https://app.example.org"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A migrated, empty database of its own for each test."""
    name = {"sqlite": "sqlite_url", "postgresql": "postgres_url"}[request.param]
    url: str = request.getfixturevalue(name)
    return url


@pytest.fixture
async def gate(database_url: str) -> AsyncIterator[Gate]:
    async with open_gate(database_url, cors_origins=[CORS_ORIGIN], log_email=True) as gate:
        yield gate
