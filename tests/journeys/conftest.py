"""The service as a process of its own, started by the real command."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.journeys.processes import Launcher, Place, Service
from tests.postgres import MIGRATED, PostgresServer


@pytest.fixture(scope="module", params=["sqlite"])
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of database: SQLite, and on tests with `on_both_databases` PostgreSQL as well."""
    kind: str = request.param
    return kind


@pytest.fixture(scope="session")
def launcher() -> Iterator[Launcher]:
    with Launcher() as launcher:
        yield launcher


@pytest.fixture
def place(kind: str, launcher: Launcher, tmp_path: Path, request: pytest.FixtureRequest) -> Place:
    """An empty directory to run commands in.

    SQLite is not migrated there yet; PostgreSQL is, as a service with such a database wants it.
    """
    if kind == "sqlite":
        return Place(launcher, tmp_path, f"sqlite:///{tmp_path / 'gatepost.db'}")
    return Place(launcher, tmp_path, request.getfixturevalue("postgres_url"))


@pytest.fixture(scope="module")
def service(
    kind: str,
    launcher: Launcher,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Service]:
    """A service that runs, for all tests of a file together: take addresses of your own."""
    directory = tmp_path_factory.mktemp("service")
    with (
        database_of(kind, directory, request) as url,
        Place(launcher, directory, url).serving() as service,
    ):
        yield service


@contextmanager
def database_of(kind: str, directory: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a database that tests of a file share. SQLite is not migrated yet."""
    if kind == "sqlite":
        yield f"sqlite:///{directory / 'gatepost.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    server.create_database(directory.name, template=MIGRATED)
    yield server.url(directory.name)
    server.drop_database(directory.name)
