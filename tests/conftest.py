"""Databases: migrated once, copied for each test."""

import logging
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from infrastructure.database import schema
from tests.postgres import MIGRATED, PostgresServer, prepared_cluster, running_postgres
from tests.secrecy import SECRECY
from tests.valkey import ValkeyServer, running_valkey

MIGRATIONS = Path(schema.__file__).parent / "migrations"

_serial = count(1)


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
