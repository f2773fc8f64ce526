"""What a release and the one before it owe to each other, as docs/operating.md has it: migrations
come first, and the code of the release before goes on working on the new schema.

It does if the newest migration only adds (seen here), and if code works on a schema that has more
than it knows (seen in tests/journeys/test_upgrades.py).
"""

from collections.abc import Callable
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, inspect, text

from infrastructure.database import schema

SEARCH = "posts_search"  # tables that SQLite's full-text index makes for itself


def is_a_loss(change: tuple[Any, ...], before: MetaData) -> bool:
    """Whether older code may miss what a step back would bring about: `change`, as Alembic has it.

    A new column must come with its value, since older code gives it none.
    """
    match change:
        case ("remove_table", _):
            return False
        case ("remove_column", _, name, _) if name not in before.tables:
            return False
        case ("remove_column", _, _, column):
            return not (column.nullable or column.server_default)
        case (("remove_index" | "remove_constraint" | "remove_fk"), constraint, *_) if (
            constraint.table.name not in before.tables
        ):
            return False
        case (("add_index" | "remove_index"), index):
            return bool(index.unique)
        case _:
            return True


def losses(url: str, step: Callable[[], object]) -> set[str]:
    """What `step` takes away from, or newly demands of, code that knows the schema before it."""
    before = MetaData()
    found: set[str] = set()

    def checks(connection: Connection) -> set[tuple[str, str]]:
        look = inspect(connection)
        return {
            (table, check["sqltext"])
            for table in before.tables
            if look.has_table(table)
            for check in look.get_check_constraints(table)
        }

    def remember(connection: Connection) -> None:
        before.reflect(connection, only=lambda name, _: not name.startswith(SEARCH))
        before.info["checks"] = checks(connection)

    def compare(connection: Connection) -> None:
        found.update(f"check {table}" for table, _ in checks(connection) - before.info["checks"])
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "include_name": is_compared}
        )
        for change in compare_metadata(context, before):
            # The changes of one column come together, in a list.
            parts = change if isinstance(change, list) else [change]
            found.update(str(part[0]) for part in parts if is_a_loss(part, before))

    schema.run(url, remember)
    step()
    schema.run(url, compare)
    return found


def is_compared(name: str | None, kind: str, *_: object) -> bool:
    return kind != "table" or not str(name).startswith(SEARCH)


@pytest.fixture(params=["sqlite", "postgresql"])
def migrated_url(request: pytest.FixtureRequest) -> str:
    fixture = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    url: str = request.getfixturevalue(fixture)
    return url


def test_the_newest_migration_keeps_everything_that_the_previous_code_needs(
    migrated_url: str,
) -> None:
    script = ScriptDirectory.from_config(schema.config())
    previous = script.get_revision(schema.newest()).down_revision
    assert isinstance(previous, str)
    schema.migrate(migrated_url, "-1")

    assert losses(migrated_url, lambda: schema.migrate(migrated_url)) == set()


@pytest.mark.parametrize(
    ("statement", "lost"),
    [
        ("DROP TABLE votes", "add_table"),
        ("ALTER TABLE posts DROP COLUMN votes", "add_column"),
        ("ALTER TABLE users RENAME COLUMN name TO title", "add_column"),
        ("ALTER TABLE users ALTER COLUMN name SET NOT NULL", "modify_nullable"),
        ("ALTER TABLE posts ALTER COLUMN version TYPE TEXT", "modify_type"),
        ("ALTER TABLE posts ADD COLUMN stars INTEGER NOT NULL", "remove_column"),
        ("ALTER TABLE posts ADD CONSTRAINT one_title UNIQUE (title)", "remove_constraint"),
        ("CREATE UNIQUE INDEX one_title ON posts (title)", "remove_index"),
        ("ALTER TABLE posts ADD CONSTRAINT few CHECK (votes < 9)", "check posts"),
        ("ALTER TABLE users DROP CONSTRAINT uq_users_email_key", "add_constraint"),
        ("ALTER TABLE posts ADD FOREIGN KEY (id) REFERENCES users (id)", "remove_fk"),
    ],
)
def test_every_kind_of_loss_is_detected(postgres_url: str, statement: str, lost: str) -> None:
    assert lost in losses(postgres_url, lambda: execute(postgres_url, statement))


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE posts ADD COLUMN stars INTEGER",
        "ALTER TABLE posts ADD COLUMN stars INTEGER NOT NULL DEFAULT 0",
        "CREATE TABLE stars (id INTEGER UNIQUE CHECK (id > 0) REFERENCES posts (id))",
        "CREATE INDEX ix_posts_votes ON posts (votes)",
        "DROP INDEX ix_sessions_user_id_network",
    ],
)
def test_an_addition_is_no_loss(postgres_url: str, statement: str) -> None:
    assert losses(postgres_url, lambda: execute(postgres_url, statement)) == set()


def execute(url: str, statement: str) -> None:
    def work(connection: Connection) -> None:
        connection.execute(text(statement))

    schema.run(url, work)
