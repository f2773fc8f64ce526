from collections.abc import AsyncIterator

import pytest

from infrastructure.database.driver.engine import open_database
from tests.contracts.backends import Backend, FakeBackend, SqlBackend

DATABASES = ["sqlite", "postgresql"]


# Not part of an async fixture: a database is migrated outside of any event loop.
@pytest.fixture(params=["fake", *DATABASES])
def backend_url(request: pytest.FixtureRequest) -> str | None:
    return None if request.param == "fake" else _url(request)


@pytest.fixture
async def backend(backend_url: str | None) -> AsyncIterator[Backend]:
    """What the contracts of storage and queries run on."""
    if backend_url is None:
        yield FakeBackend()
        return
    database = open_database(backend_url, timeout=10)  # what is slow here is the machine
    await database.open()
    yield SqlBackend(database)
    await database.close()


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest) -> str:
    """A migrated database of each kind."""
    return _url(request)


def _url(request: pytest.FixtureRequest) -> str:
    name = {"sqlite": "sqlite_url", "postgresql": "postgres_url"}[request.param]
    url: str = request.getfixturevalue(name)
    return url
