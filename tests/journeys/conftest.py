"""The service as a process of its own, started by the real command."""

from collections.abc import Iterator
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
    if kind == "sqlite":
        with Place(launcher, directory, f"sqlite:///{directory / 'gatepost.db'}").serving() as it:
            yield it
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    server.create_database(directory.name, template=MIGRATED)
    with Place(launcher, directory, server.url(directory.name)).serving() as it:
        yield it
    server.drop_database(directory.name)
