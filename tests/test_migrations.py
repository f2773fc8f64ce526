"""The schema's revisions, on both databases."""

import asyncio
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Identity, column, inspect, select, table, text

# For all tables to be registered.
import infrastructure.database.access_tokens
import infrastructure.database.unit_of_work  # noqa: F401
from infrastructure.database import schema
from infrastructure.database.driver.engine import open_database
from infrastructure.database.driver.rows import Row
from infrastructure.database.migrations.generate import has_a_row
from infrastructure.database.queries import SqlQueries
from tests.contracts.backends import SqlBackend
from tests.postgres import PostgresServer

ROOT = Path(__file__).parents[1]
TABLES = set(Row.metadata.tables)


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
    return {name for name in found if has_a_row(name, "table")}


def ready(url: str) -> list[str]:
    async def ask() -> list[str]:
        database = open_database(url)
        await database.open()
        try:
            return await SqlQueries(database).ready()
        finally:
            await database.close()

    return asyncio.run(ask())


def execute(url: str, statement: str) -> None:
    def work(connection: Connection) -> None:
        connection.execute(text(statement))

    schema.run(url, work)


def pretend(url: str, revision: str) -> None:
    """As if other code had migrated the database."""
    execute(url, f"UPDATE alembic_version SET version_num = '{revision}'")


def drift(url: str) -> set[str]:
    """What Alembic would have to do to bring the schema to the models."""
    changes: list[Any] = []

    def compare(connection: Connection) -> None:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "compare_server_default": True,
                "include_name": has_a_row,
            },
        )
        for change in compare_metadata(context, Row.metadata):
            changes.extend(change if isinstance(change, list) else [change])

    schema.run(url, compare)
    # SQLite hands out ids by itself and says nothing of it.
    return {
        f"{kind} {arguments}"
        for kind, *arguments in changes
        if not (url.startswith("sqlite") and isinstance(arguments[-1], Identity))
    }


def test_there_is_one_newest_revision() -> None:
    heads = ScriptDirectory.from_config(schema.config()).get_heads()

    assert heads == [schema.newest()]


def test_a_database_is_migrated_up_down_and_up(url: str) -> None:
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


def test_each_revision_migrates_up_and_down(url: str) -> None:
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

    assert drift(url) == set()


@pytest.mark.parametrize(
    ("kind", "statement"),
    [
        ("add_index", "DROP INDEX ix_sessions_user_id_network"),
        ("remove_table", "CREATE TABLE stars (id INTEGER)"),
        ("remove_column", "ALTER TABLE posts ADD COLUMN stars INTEGER"),  # posts only
        ("modify_default", "ALTER TABLE posts ALTER COLUMN votes SET DEFAULT 1"),  # posts only
        ("modify_default", "ALTER TABLE posts ALTER COLUMN id DROP IDENTITY"),  # posts only
        ("modify_type", "ALTER TABLE posts ALTER COLUMN version TYPE BIGINT"),  # posts only
        ("modify_nullable", "ALTER TABLE posts ALTER COLUMN title DROP NOT NULL"),  # posts only
        ("add_fk", "ALTER TABLE posts DROP CONSTRAINT fk_posts_owner_id"),  # posts only
        ("add_constraint", "ALTER TABLE users DROP CONSTRAINT uq_users_email_key"),
    ],
)
def test_every_kind_of_drift_is_detected(postgres_url: str, kind: str, statement: str) -> None:
    execute(postgres_url, statement)

    assert [change.partition(" ")[0] for change in drift(postgres_url)] == [kind]


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


def test_the_keys_of_addresses_are_recomputed_both_ways(url: str) -> None:  # posts only
    keys = {
        "Anna@example.com": ("anna@example.com", "anna@example.com"),
        "v@faß.example": ("v@fass.example", "v@xn--fa-hia.example"),
        "Straße@example.com": ("strasse@example.com", "straße@example.com"),
        # Claims of a provider were stored as written: two keys for what is one address now.
        "v@exämple.com": ("v@exämple.com", "v@xn--exmple-cua.com"),
        "v@EXÄMPLE。com": ("v@exämple。com", "v@exämple。com"),
    }
    columns = ("email", "email_key", "role", "is_active", "is_verified", "password_hash")
    users = table("users", *map(column, (*columns, "created_at", "tokens_valid_from")))
    now = 0 if url.startswith("sqlite") else datetime.now(UTC)

    def add_users(connection: Connection) -> None:
        for email, (key, _) in keys.items():
            values = (email, key, "member", True, True, "", now, now)
            connection.execute(users.insert().values(values))

    def see(connection: Connection) -> None:
        found.update(dict(connection.execute(select(users.c.email, users.c.email_key)).all()))

    schema.migrate(url, "0007")
    schema.run(url, add_users)
    for revision, side in (("0008", 1), ("-1", 0)):
        found: dict[str, str] = {}
        schema.migrate(url, revision)
        schema.run(url, see)

        assert found == {email: both[side] for email, both in keys.items()}


def test_sessions_beyond_100_are_revoked_least_recently_used_first(url: str) -> None:  # posts only
    schema.migrate(url, "0008")
    at = (lambda seconds: seconds * 10**6) if url.startswith("sqlite") else in_2100
    users = ("email_key", "email", "role", "is_active", "is_verified", "password_hash")
    sessions = ("user_id", "created_at", "last_used_at", "expires_at", "refresh_hash")

    def add(connection: Connection) -> None:
        for user, count in ((1, 103), (2, 100)):
            values = dict(zip(users, (f"{user}", "", "member", True, True, ""), strict=True))
            values |= {"created_at": at(0), "tokens_valid_from": at(0)}
            connection.execute(table("users", *map(column, values)).insert().values(values))
            for n in range(count):
                row = (user, at(0), at(-n), at(5 * 10**9), f"{user} {n}")
                values = dict(zip(sessions, row, strict=True))
                connection.execute(table("sessions", *map(column, values)).insert().values(values))

    def see(connection: Connection) -> None:
        ended = text("SELECT refresh_hash FROM sessions WHERE revoked_at IS NOT NULL")
        assert {name for (name,) in connection.execute(ended)} == {"1 100", "1 101", "1 102"}

    schema.run(url, add)
    schema.migrate(url)
    schema.run(url, see)


def in_2100(seconds: int) -> datetime:
    return datetime(2100, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)


def test_a_database_without_schema_is_not_ready_and_says_so(url: str) -> None:
    assert ready(url) == ["migrations"]


def test_a_database_at_an_older_revision_is_not_ready(url: str) -> None:
    schema.migrate(url)
    schema.migrate(url, "-1")

    assert ready(url) == ["migrations"]


def test_an_unknown_revision_is_refused_and_not_changed(url: str) -> None:
    schema.migrate(url)
    pretend(url, "0000")

    with pytest.raises(schema.MigrationFailed, match="not one that this code knows"):
        schema.migrate(url)

    assert tables(url) == TABLES
    assert ready(url) == ["migrations"]


FOREIGN = {
    "a random revision": ["CREATE TABLE users (id INTEGER)", "a1b2c3d4e5f6"],
    "a numbered one": ["CREATE TABLE users (id INTEGER, email VARCHAR)", "0099"],
    "an old number": ["CREATE TABLE people (id INTEGER)", "0001"],
    "two heads": ["CREATE TABLE people (id INTEGER)", "0001", "0002"],
}


def let_others_migrate(url: str, statement: str, *revisions: str) -> None:
    """As another application does it that has its tables in the same database."""
    execute(url, statement)
    execute(url, "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
    for revision in revisions:
        execute(url, f"INSERT INTO alembic_version VALUES ('{revision}')")


@pytest.mark.parametrize("kind", FOREIGN)
def test_the_schema_of_another_application_is_refused_and_not_changed(url: str, kind: str) -> None:
    let_others_migrate(url, *FOREIGN[kind])
    before = tables(url)

    with pytest.raises(schema.ForeignSchema, match=r"not ours: .* a schema of its own"):
        schema.migrate(url)

    assert tables(url) == before
    assert ready(url) == ["migrations"]


def test_a_separate_schema_can_be_used_instead(empty_postgres_url: str) -> None:
    let_others_migrate(empty_postgres_url, *FOREIGN["a random revision"])
    execute(empty_postgres_url, "CREATE SCHEMA ours")
    url = f"{empty_postgres_url}?search_path=ours"

    schema.migrate(url)

    assert tables(url) == TABLES
    assert ready(url) == []
    assert tables(empty_postgres_url) == {"users"}


def test_a_newer_revision_is_accepted_and_not_changed(url: str) -> None:
    schema.migrate(url)
    pretend(url, "9999")

    assert schema.migrate(url) == "9999"

    assert tables(url) == TABLES
    assert ready(url) == []


def test_concurrent_migrations_do_not_overlap(url: str) -> None:
    at_work: list[Connection] = []

    def work(connection: Connection) -> None:
        assert at_work == []
        at_work.append(connection)
        time.sleep(0.02)
        at_work.remove(connection)

    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(schema.run, url, work) for _ in range(4)]:
            done.result()


def test_concurrent_migrations_all_succeed(url: str) -> None:
    program = "import sys; from infrastructure.database import schema; schema.migrate(sys.argv[1])"
    processes = [
        subprocess.Popen([sys.executable, "-c", program, url], cwd=ROOT, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=20)
        assert (process.returncode, errors.decode()) == (0, "")

    assert ready(url) == []


def test_a_failed_migration_leaves_nothing(url: str) -> None:
    execute(url, "CREATE TABLE votes (id INTEGER)")  # the last one that the first revision makes

    with pytest.raises(schema.MigrationFailed, match=r"refused: .*votes.* already exists"):
        schema.migrate(url)

    assert tables(url) == {"votes"}


@pytest.fixture(params=["nobody", "no database", "no user", "no directory", "no sqlite"])
def unusable(request: pytest.FixtureRequest, tmp_path: Path, postgres: PostgresServer) -> str:
    """The URL of a database that can't be used, for one reason or another."""
    file = tmp_path / "noise.db"
    file.write_bytes(b"noise" * 1000)
    return {
        "nobody": "postgresql://gatepost@127.0.0.1:1/gatepost",
        "no database": postgres.url("missing"),
        "no user": postgres.url("postgres").replace("gatepost:", "nobody:"),
        "no directory": f"sqlite:///{tmp_path / 'missing' / 'gatepost.db'}",
        "no sqlite": f"sqlite:///{file}",
    }[str(request.param)]


def test_a_database_that_cannot_be_used_fails_in_one_line(unusable: str) -> None:
    with pytest.raises(schema.MigrationFailed) as failure:
        schema.migrate(unusable)

    assert len(str(failure.value).splitlines()) == 1
