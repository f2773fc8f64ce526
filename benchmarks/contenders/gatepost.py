"""Gatepost as its users run it: `gatepost migrate`, `gatepost serve`, production, logging on.

The first user registers and writes the first post through the API; SQL copies these two rows as
often as wanted. So passwords, versions and the like are as the service makes them, and all that is
known of its tables is in `UNLIKE`. The tokens come from `POST /login`.
"""

import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx

import environment
from contenders.target import CONTENT, POSTS, TOKENS, USERS, Target, email_of
from machine import free_port, running_server
from postgres import Postgres

PASSWORD = "a passphrase of the bench"
FIRST_USER = {"email": email_of(1), "password": PASSWORD, "name": "User 1"}
FIRST_POST = {"title": "Post 1", "content": CONTENT}

UNLIKE = {
    "users": {
        "email": "'user' || i || '@example.com'",
        "email_key": "'user' || i || '@example.com'",
        "name": "'User ' || i",
    },
    "posts": {"owner_id": "i % {users} + 1", "title": "'Post ' || i"},
}
"""In which columns, beside the id, copy `i` of a table's first row differs from it, as SQL."""

Rows = list[tuple[Any, ...]]


@dataclass(frozen=True)
class Database:
    """The database that Gatepost is about to serve from, by the back door."""

    url: str
    execute: Callable[[str], Rows]
    columns_of: str
    """A query for the columns of `{table}` that the database does not compute."""
    tidy: str


def _on_postgres(postgres: Postgres, name: str) -> Database:
    return Database(
        url=postgres.create_database(name),
        execute=partial(postgres.execute, name),
        columns_of="""SELECT column_name FROM information_schema.columns
            WHERE table_name = '{table}' AND is_generated = 'NEVER'""",
        tidy="VACUUM ANALYZE",
    )


def _on_sqlite(file: Path) -> Database:
    def execute(statement: str) -> Rows:
        with closing(sqlite3.connect(file, timeout=30)) as connection, connection:
            return connection.execute(statement).fetchall()

    return Database(
        url=f"sqlite:///{file}",
        execute=execute,
        columns_of="SELECT name FROM pragma_table_info('{table}')",
        tidy="ANALYZE",
    )


@contextmanager
def running_gatepost(
    *,
    postgres: Postgres | None,
    core: str,
    scratch: Path,
    name: str = "gatepost",
    checkout: Path = environment.ROOT,
    users: int = USERS,
    posts: int = POSTS,
    tokens: int = TOKENS,
    bcrypt_cost: int = 4,
    workers: int = 1,
    settings: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Target]:
    """Run Gatepost with its data, on a new database of `postgres` or else on a file of SQLite.

    Passwords are cheap unless asked otherwise, so that 200 logins take no time; no route that is
    timed checks one. `settings` are by name, without the prefix, and go before the bench's own.
    `checkout` says whose Gatepost it is.
    """
    gatepost = str(environment.gatepost(checkout))
    port = free_port()
    database = _on_postgres(postgres, name) if postgres else _on_sqlite(scratch / f"{name}.db")
    env = {
        "GATEPOST_DATABASE_URL": database.url,
        "GATEPOST_ENVIRONMENT": "production",
        "GATEPOST_SECRET_KEY": os.urandom(32).hex(),
        "GATEPOST_BCRYPT_COST": str(bcrypt_cost),
        "GATEPOST_ACCESS_TOKEN_TTL": "86400",
        "GATEPOST_RATE_LIMITS": "off",
    } | {f"GATEPOST_{name}": value for name, value in settings.items()}
    try:
        subprocess.run([gatepost, "migrate"], cwd=scratch, env={**os.environ, **env}, check=True)
    except subprocess.CalledProcessError:
        raise SystemExit("gatepost migrate failed.") from None

    command = [gatepost, "serve", "--port", str(port), "--workers", str(workers)]
    with (
        running_server(name, command, port=port, core=core, env=env, scratch=scratch) as server,
        httpx.Client(base_url=server.url, timeout=30) as client,
    ):
        _create(client, "/users", FIRST_USER)
        _create(client, "/posts", FIRST_POST, token=_login(client, 1))
        _copy_first_row(database, "users", users, users=users)
        _copy_first_row(database, "posts", posts, users=users)
        database.execute(database.tidy)

        issued = [_login(client, user) for user in range(1, tokens + 1)]
        deactivated = _login(client, users)
        database.execute(f"UPDATE users SET is_active = false WHERE id = {users}")
        yield Target(
            name=name,
            server=server,
            tokens=issued,
            refused={
                "forged": issued[0][:-8] + issued[1][-8:],
                "deactivated": deactivated,
            },
            posts=posts,
        )


def login(user: int) -> dict[str, str]:
    """The form that logs the user with that number in."""
    return {"username": email_of(user), "password": PASSWORD}


def _login(client: httpx.Client, user: int) -> str:
    answer = client.post("/login", data=login(user))
    if answer.status_code != 200:
        raise SystemExit(f"gatepost: POST /login: {answer.status_code} {answer.text}")
    token: str = answer.json()["access_token"]
    return token


def _create(client: httpx.Client, path: str, body: dict[str, str], token: str = "") -> None:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = client.post(path, json=body, headers=headers)
    if answer.status_code != 201:
        raise SystemExit(f"gatepost: POST {path}: {answer.status_code} {answer.text}")


def _copy_first_row(database: Database, table: str, count: int, *, users: int) -> None:
    """Make the row with id 1 the first of `count`; the database hands out the ids, in order."""
    unlike = UNLIKE[table]
    written = database.execute(database.columns_of.format(table=table))
    columns = [column for (column,) in written if column != "id"]
    values = [unlike[c].format(users=users) if c in unlike else f"first.{c}" for c in columns]
    database.execute(
        f"""WITH RECURSIVE numbers(i) AS (
                SELECT 2 UNION ALL SELECT i + 1 FROM numbers WHERE i < {count})
            INSERT INTO {table} ({", ".join(columns)})
            SELECT {", ".join(values)} FROM numbers, {table} AS first
            WHERE first.id = 1 ORDER BY i"""
    )
