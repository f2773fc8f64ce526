"""One application a test, on real adapters, on each of the two databases."""

from collections.abc import AsyncIterator

import pytest

from api.app import create_app
from application.ports.limits import Limits
from application.services import Ports
from infrastructure.database.engine import open_database
from infrastructure.database.queries import SqlQueries
from infrastructure.database.unit_of_work import sql_storage
from infrastructure.passwords import BcryptPasswords
from infrastructure.tokens.jose import JoseTokens, hs256_key
from tests.api.gate import Gate, Watch, client_of
from tests.fakes.limits import FakeLimits

SECRET = b"tZ4vQ9kX2mLw7RbN5sHj8DfG3yUc6EaP"
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
async def gate(database_url: str, clock: Watch, limits: Limits) -> AsyncIterator[Gate]:
    database = open_database(database_url)
    await database.open()
    ports = Ports(
        queries=SqlQueries(database),
        storage=sql_storage(database),
        tokens=JoseTokens([hs256_key(SECRET)], issuer="gatepost", audience="gatepost"),
        passwords=BcryptPasswords(cost=4),
        limits=limits,
        clock=clock,
    )
    app = create_app(ports, cursor_key=b"k" * 32, cors_origins=[CORS_ORIGIN], log_email=True)
    async with client_of(app) as client:
        yield Gate(app=app, client=client, ports=ports, database=database, clock=clock)
    await database.close()
