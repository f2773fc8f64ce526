"""The service as a process of its own, started by the real command."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.processes import Place, Service


@pytest.fixture(params=["sqlite"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty directory to run the command in, and a database that is empty too.

    It is SQLite; on tests that are marked with `on_both_databases`, PostgreSQL as well.
    """
    if request.param == "sqlite":
        return Place(tmp_path, f"sqlite:///{tmp_path / 'gatepost.db'}")
    return Place(tmp_path, request.getfixturevalue("postgres_url"))


@pytest.fixture
def service(place: Place) -> Iterator[Service]:
    """A service that runs in `place`."""
    with place.serving() as service:
        yield service
