"""The bench's PostgreSQL: the tests' server, on cores of its own choosing."""

import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg2

from environment import ROOT

sys.path.append(str(ROOT))
from tests.postgres import PostgresServer, running_postgres

QUIET = {"max_wal_size": "16GB", "checkpoint_timeout": "1d"}
"""No checkpoint falls on whoever happens to be measured."""


@dataclass(frozen=True)
class Postgres:
    """A running server that trusts everybody on this machine."""

    server: PostgresServer

    def create_database(self, name: str) -> str:
        """The URL of a new, empty database."""
        self.server.create_database(name)
        return self.server.url(name)

    def execute(self, database: str, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement in autocommit; its rows, if it has any."""
        with closing(psycopg2.connect(self.server.url(database))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []


@contextmanager
def postgres_on(cores: str, *, fsync: bool) -> Iterator[Postgres]:
    """A fresh server on `cores` for all contenders alike.

    With `fsync` commits wait for the disk, as in production.
    """
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {int(core) for core in cores.split(",")})  # the server inherits it
    with running_postgres(fsync=fsync) as server:
        os.sched_setaffinity(0, ours)
        postgres = Postgres(server)
        for name, value in QUIET.items():
            postgres.execute("postgres", f"ALTER SYSTEM SET {name} = '{value}'")
        postgres.execute("postgres", "SELECT pg_reload_conf()")
        yield postgres
