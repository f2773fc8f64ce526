"""The schema's revisions, on both databases."""

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

# For all tables to be registered.
import infrastructure.database.access_tokens
import infrastructure.database.unit_of_work  # noqa: F401
from infrastructure.database import schema
from infrastructure.database.engine import open_database
from infrastructure.database.queries import SqlQueries
from infrastructure.database.rows import Row
from tests.contracts.backends import SqlBackend
from tests.postgres import PostgresServer

TABLES = {
    "users",
    "sessions",
    "spent_refresh_tokens",
    "access_tokens",
    "identities",
    "posts",
    "votes",
    "events",
}


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database that was never migrated."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'gatepost.db'}"
    empty: str = request.getfixturevalue("empty_postgres_url")
    return empty


def tables(url: str) -> set[str]:
    found: set[str] = set()

    def look(connection: Connection) -> None:
        found.update(inspect(connection).get_table_names())

    schema.run(url, look)
    return found - {"alembic_version", "sqlite_sequence"}


def ready(url: str) -> list[str]:
    async def ask() -> list[str]:
        database = open_database(url)
        await database.open()
        try:
            return await SqlQueries(database).ready()
        finally:
            await database.close()

    return asyncio.run(ask())


def pretend(url: str, revision: str) -> None:
    """As if other code had migrated the database."""
    statement = text("UPDATE alembic_version SET version_num = :revision")
    schema.run(url, lambda connection: connection.execute(statement, {"revision": revision}))


def drift(url: str) -> list[Any]:
    """What Alembic would have to change to bring the schema to the models."""
    found: list[Any] = []

    def compare(connection: Connection) -> None:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        found.extend(compare_metadata(context, Row.metadata))

    schema.run(url, compare)
    return found


def test_there_is_one_newest_revision() -> None:
    heads = ScriptDirectory.from_config(schema.config()).get_heads()

    assert heads == [schema.newest()]


def test_every_table_has_a_model() -> None:
    assert set(Row.metadata.tables) == TABLES


def test_a_database_is_migrated_up_and_down_and_up_again(url: str) -> None:
    assert tables(url) == set()

    schema.migrate(url)
    assert tables(url) == TABLES
    assert ready(url) == []

    schema.migrate(url, "base")
    assert tables(url) == set()
    assert ready(url) == ["migrations"]

    schema.migrate(url)
    assert tables(url) == TABLES
    assert ready(url) == []


def test_every_revision_alone_goes_up_and_down(url: str) -> None:
    script = ScriptDirectory.from_config(schema.config())
    revisions = [step.revision for step in script.walk_revisions()]

    for revision in reversed(revisions):
        schema.migrate(url, revision)
        before = tables(url)
        schema.migrate(url, "-1")
        assert tables(url) != before or revision != revisions[-1]
        schema.migrate(url, revision)
        assert tables(url) == before

    assert ready(url) == []


def test_models_and_schema_do_not_drift_apart(url: str) -> None:
    schema.migrate(url)

    assert drift(url) == []


def test_a_drift_would_be_seen(url: str) -> None:
    schema.migrate(url)
    statements = ["ALTER TABLE posts ADD COLUMN stars INTEGER", "DROP INDEX ix_sessions_user_id"]

    for statement in statements:
        schema.run(url, lambda connection, sql=statement: connection.execute(text(sql)))  # type: ignore[misc]

    assert sorted(change[0] for change in drift(url)) == ["add_index", "remove_column"]


def test_migrating_again_changes_nothing_that_is_stored(url: str) -> None:
    schema.migrate(url)

    async def add_user() -> None:
        database = open_database(url)
        await database.open()
        await SqlBackend(database).add_user(email="anna@example.com")
        await database.close()

    asyncio.run(add_user())
    schema.migrate(url)

    def count(connection: Connection) -> None:
        assert connection.execute(text("SELECT count(*) FROM users")).scalar_one() == 1

    schema.run(url, count)


def test_a_database_without_schema_is_not_ready_and_says_so(url: str) -> None:
    assert ready(url) == ["migrations"]


@pytest.mark.parametrize("revision", ["0000", "9999"])
def test_a_database_at_another_revision_is_not_ready(url: str, revision: str) -> None:
    schema.migrate(url)
    pretend(url, revision)

    assert ready(url) == ["migrations"]


def test_a_revision_of_other_code_is_refused_and_left_alone(url: str) -> None:
    schema.migrate(url)
    pretend(url, "9999")

    with pytest.raises(schema.MigrationFailed, match="not one that this code knows"):
        schema.migrate(url)

    assert tables(url) == TABLES
    assert ready(url) == ["migrations"]


def migrate_in_a_process(url: str) -> "subprocess.Popen[bytes]":
    program = "import sys; from infrastructure.database import schema; schema.migrate(sys.argv[1])"
    return subprocess.Popen(
        [sys.executable, "-c", program, url], cwd=Path(__file__).parents[1], stderr=subprocess.PIPE
    )


def test_several_migrations_at_once_end_well(url: str) -> None:
    with ThreadPoolExecutor(4) as threads:
        for migration in [threads.submit(schema.migrate, url) for _ in range(4)]:
            migration.result()

    assert ready(url) == []


def test_several_processes_that_migrate_at_once_end_well(url: str) -> None:
    processes = [migrate_in_a_process(url) for _ in range(3)]
    for process in processes:
        _, errors = process.communicate(timeout=20)
        assert (process.returncode, errors.decode()) == (0, "")

    assert ready(url) == []


def test_a_migration_that_fails_halfway_leaves_nothing(url: str) -> None:
    clash = "CREATE TABLE votes (id INTEGER)"  # the last table that the first revision makes
    schema.run(url, lambda connection: connection.execute(text(clash)))

    with pytest.raises(Exception, match="votes"):
        schema.migrate(url, "0001")

    assert tables(url) == {"votes"}


@pytest.fixture(params=["nobody", "silence", "no database", "no user", "no file", "no sqlite"])
def unusable(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database that can't be used, for one reason or another."""
    server: PostgresServer = request.getfixturevalue("postgres")
    file = tmp_path / "noise.db"
    file.write_bytes(b"noise" * 1000)
    return {
        "nobody": "postgresql://gatepost@127.0.0.1:1/gatepost",
        "silence": "postgresql://gatepost@127.0.0.1:notaport/gatepost",
        "no database": server.url("missing"),
        "no user": server.url("postgres").replace("gatepost@", "nobody@"),
        "no file": f"sqlite:///{tmp_path / 'missing' / 'gatepost.db'}",
        "no sqlite": f"sqlite:///{file}",
    }[request.param]


def test_a_database_that_cannot_be_used_fails_in_one_line(unusable: str) -> None:
    with pytest.raises(schema.MigrationFailed) as failure:
        schema.migrate(unusable)

    assert len(str(failure.value).splitlines()) == 1
    assert "gatepost@" not in str(failure.value)
