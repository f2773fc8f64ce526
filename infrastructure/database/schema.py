"""Revisions of the schema: which one the code expects, which one a database has, and migrations.

Functions import Alembic and asyncpg themselves: the imports take a quarter of a second, and most
starts of the service have nothing to migrate.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    Connection,
    Select,
    column,
    create_engine,
    event,
    inspect,
    select,
    table,
    text,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from application.outages import SchemaMissing
from infrastructure.database.driver import sqlite
from infrastructure.database.driver.addresses import postgres_address, sqlite_path
from infrastructure.database.driver.statements import Database

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).parent / "migrations"
_REVISION: Select[Any] = select(column("version_num")).select_from(table("alembic_version"))
# Fails on another application's table `users`: each of our revisions has this column.
_OUR_REVISION = _REVISION.add_columns(
    select(column("email_key")).select_from(table("users")).limit(1).scalar_subquery()
)
_OUR_NUMBERS = re.compile(r"\d{4}")
_LOCK = 7_245_011_523  # any number that no other program locks


def config() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


@cache
def newest() -> str:
    """The revision that this code is written for: the last of the numbered files."""
    files = (file.name for file in MIGRATIONS.glob("versions/*.py"))
    return max(files, default="0000").partition("_")[0]


class MigrationFailed(Exception):
    """One line that says why; the schema is as it was before."""


class ForeignSchema(MigrationFailed):
    """Another application has migrated this database, by Alembic too."""

    def __init__(self, revisions: Sequence[str]) -> None:
        super().__init__(
            f"alembic_version is at {', '.join(revisions)}, which is not ours: another application"
            " has its tables here. Give Gatepost a database of its own in DATABASE_URL, or on"
            " PostgreSQL a schema of its own: CREATE SCHEMA gatepost, and"
            " ?search_path=gatepost at the end of DATABASE_URL"
        )


async def revision(database: Database) -> str | None:
    """Returns the revision of `database`, or None when it was never migrated. Raises
    `ForeignSchema`.
    """
    is_ours = True
    try:
        rows = await database.fetch(_OUR_REVISION)
    except SchemaMissing:
        is_ours = False
        try:
            rows = await database.fetch(_REVISION)
        except SchemaMissing:
            return None
    return _known([row[0] for row in rows], is_ours=is_ours)


def _known(revisions: Sequence[str], *, is_ours: bool) -> str | None:
    """The one of `revisions`, as Alembic has stored them."""
    if not revisions:
        return None
    if len(revisions) > 1 or not is_ours or not _OUR_NUMBERS.fullmatch(revisions[0]):
        raise ForeignSchema(revisions)
    return revisions[0]


def serves(stored: str | None) -> bool:
    """Whether this code works on a schema at the revision `stored`: its own, or a newer one.

    A revision never removes what the previous release uses (docs/operating.md, Upgrades), so an
    older release works on a newer schema. Revisions are numbered and sort by age.
    """
    return stored is not None and stored >= newest()


def migrate(url: str, revision: str = "head") -> str | None:
    """Upgrade or downgrade the schema to `revision`. Concurrent calls run one after the other.

    A schema that is newer than this code is left as it is, so that a release can be rolled back.
    Returns the resulting revision, or None when the schema has none.

    Raises `MigrationFailed` when the database cannot be reached, has a revision that this code does
    not know, or rejects a step, and `ForeignSchema` when it belongs to another application.
    """
    import asyncpg
    from alembic import command
    from alembic.migration import MigrationContext
    from alembic.util import CommandError

    stored: str | None = None

    def work(connection: Connection) -> None:
        nonlocal stored
        context = MigrationContext.configure(connection)
        stored = _known(context.get_current_heads(), is_ours=_has_our_users(connection))
        if revision == "head" and serves(stored):
            return
        alembic = config()
        alembic.attributes["connection"] = connection
        down = revision == "base" or revision.startswith("-")
        (command.downgrade if down else command.upgrade)(alembic, revision)
        stored = context.get_current_revision()

    try:
        run(url, work)
    except CommandError as error:
        raise MigrationFailed(f"The schema is not one that this code knows: {error}") from error
    except DBAPIError as error:
        # SQLAlchemy wraps the exceptions of asyncpg.
        cause = error.orig and (error.orig.__cause__ or error.orig)
        reason = str(cause).partition("\n")[0]
        raise MigrationFailed(f"The database refused: {reason}") from error
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise MigrationFailed(f"The database does not answer: {reason}") from error
    return stored


def _has_our_users(connection: Connection) -> bool:
    found = inspect(connection)
    return found.has_table("users") and "email_key" in {
        column["name"] for column in found.get_columns("users")
    }


def run(url: str, work: Callable[[Connection], object]) -> None:
    """Run `work` in a transaction. A lock in the database keeps concurrent calls of `run` apart."""
    if path := sqlite_path(url):
        _run_on_sqlite(path, work)
    else:
        asyncio.run(_run_on_postgresql(url, work))


def _run_on_sqlite(path: Path, work: Callable[[Connection], object]) -> None:
    engine = create_engine(
        "sqlite://", creator=partial(sqlite.connect, path, 10), poolclass=NullPool
    )
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    with engine.begin() as connection:
        work(connection)


async def _run_on_postgresql(url: str, work: Callable[[Connection], object]) -> None:
    from sqlalchemy.ext.asyncio import create_async_engine

    from infrastructure.database.driver import connections

    async def connect() -> object:
        connection, _ = await connections.connect(postgres_address(url), within=10)
        return connection

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    async with engine.begin() as connection:
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        await connection.run_sync(work)
