"""Databases, migrated once and copied for each test, and what a run has left out."""

import logging
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from infrastructure.database import schema
from tests.postgres import MIGRATED, PostgresServer, prepared_cluster, running_postgres
from tests.secrecy import SECRECY
from tests.valkey import ValkeyServer, running_valkey

MIGRATIONS = Path(schema.__file__).parent / "migrations"

_serial = count(1)
_LEFT_OUT = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_LEFT_OUT] = []


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("slow"):
            item.config.stash[_LEFT_OUT].append(item.nodeid.partition("::")[0])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a worker of pytest-xdist has left out: all workers leave out the same."""
    left_out: list[str] = getattr(node, "workeroutput", {}).get("left_out", [])
    if left_out:
        node.config.stash[_LEFT_OUT] = left_out


def pytest_sessionfinish(session: pytest.Session) -> None:
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["left_out"] = session.config.stash[_LEFT_OUT]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    left_out: list[str] = config.stash[_LEFT_OUT]
    if left_out:
        counts = Counter(left_out)
        files = ", ".join(f"{file} ({number})" for file, number in sorted(counts.items()))
        terminalreporter.write_line(
            f"Left out: {len(left_out)} slow tests, which `make test-all` runs: {files}"
        )


@pytest.fixture(scope="session", autouse=True)
def no_secret_is_logged() -> Iterator[None]:
    """By any test of this process; what is found is told at the end of the last one."""
    root, ours = logging.getLogger(), logging.getLogger("gatepost")
    root.addHandler(SECRECY)
    ours.setLevel(logging.INFO)
    yield
    root.removeHandler(SECRECY)
    leaks = SECRECY.leaks()
    assert not leaks, f"secrets in {len(leaks)} lines of the log:\n" + "\n".join(leaks[:20])


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server that has the database MIGRATED."""

    def prepare(server: PostgresServer) -> None:
        server.create_database(MIGRATED)
        schema.migrate(server.url(MIGRATED))

    key = b"".join(file.read_bytes() for file in sorted(MIGRATIONS.rglob("*.py")))
    with running_postgres(cluster=prepared_cluster(prepare, key=key)) as server:
        yield server


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "gatepost.db"
    schema.migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def empty_postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """A database that was never migrated."""
    yield from _database(postgres, template="template0")


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """A migrated database, empty."""
    yield from _database(postgres, template=MIGRATED)


@pytest.fixture
def sqlite_url(tmp_path: Path, migrated_sqlite: Path) -> str:
    return f"sqlite:///{shutil.copy(migrated_sqlite, tmp_path)}"


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[ValkeyServer]:
    with running_valkey() as server:
        yield server


@pytest.fixture
def valkey(valkey_server: ValkeyServer) -> ValkeyServer:
    """A Valkey that is empty."""
    with valkey_server.client() as client:
        client.flushall()
    return valkey_server


def _database(server: PostgresServer, *, template: str) -> Iterator[str]:
    name = f"test_{next(_serial)}"
    server.create_database(name, template=template)
    yield server.url(name)
    server.drop_database(name)
