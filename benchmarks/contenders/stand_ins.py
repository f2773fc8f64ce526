"""The usual ways: how each stand-in is started and what is in its database.

All but `bare` hold the same users and posts, show the owner with every post, and read the user
from the database on every request. That is less than Gatepost does, which also checks the session,
counts votes and answers with an ETag. Their tokens are signed here, as their login would sign them.
"""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from jose import jwt

from contenders.target import CONTENT, POSTS, TOKENS, USERS, Target
from environment import HERE, NODE, VENV
from machine import free_port, running_server
from postgres import Postgres

SECRET = "the stand-ins' secret, as long as it should be"
DEACTIVATED = USERS
"""The number of the user who is not active."""

Claims = Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class StandIn:
    """One of the usual ways."""

    command: Sequence[str]
    """With `{port}` in it."""
    seed: Sequence[str] = ()
    """Statements that make its tables and fill them; none: it has no database."""
    claims: Callable[[int], Claims] | None = None
    """What its tokens say about the user with that number; None: it authenticates nobody."""
    refuses_deactivated: bool = False

    def token(self, user: int, secret: str = SECRET) -> str:
        if self.claims is None:
            return "none"
        claims = {**self.claims(user), "exp": int(time.time()) + 24 * 3600}
        return str(jwt.encode(claims, secret, algorithm="HS256"))

    def refused(self) -> dict[str, str]:
        """The tokens that it must not accept."""
        if self.claims is None:
            return {}
        tokens = {"forged": self.token(1, secret="of somebody else")}
        if self.refuses_deactivated:
            tokens["deactivated"] = self.token(DEACTIVATED)
        return tokens


def _uvicorn(app: str) -> list[str]:
    options = "--host 127.0.0.1 --port {port} --loop uvloop --http httptools --no-access-log"
    return [f"{VENV}/bin/uvicorn", app, "--app-dir", str(HERE), *options.split()]


def _seed(users: str, id_type: str, fill_users: str, owner: str) -> list[str]:
    """`owner`: the id of the owner of post `i`, in SQL."""
    return [
        users,
        f"""CREATE TABLE posts (
            id serial PRIMARY KEY,
            title varchar NOT NULL,
            content varchar NOT NULL,
            published boolean NOT NULL DEFAULT true,
            created_at timestamptz NOT NULL DEFAULT now(),
            owner_id {id_type} NOT NULL REFERENCES {users.split()[2]} ON DELETE CASCADE)""",
        fill_users,
        f"""INSERT INTO posts (title, content, owner_id)
            SELECT 'Post ' || i, '{CONTENT}', {owner} FROM generate_series(1, {POSTS}) i""",
        "VACUUM ANALYZE",
    ]


LESSON_SEED = _seed(
    """CREATE TABLE users (
        id serial PRIMARY KEY,
        email varchar NOT NULL UNIQUE,
        name varchar NOT NULL,
        password varchar NOT NULL,
        is_active boolean NOT NULL DEFAULT true,
        created_at timestamptz NOT NULL DEFAULT now())""",
    "integer",
    f"""INSERT INTO users (email, name, password, is_active)
        SELECT 'user' || i || '@example.com', 'User ' || i, repeat('x', 60), i <> {DEACTIVATED}
        FROM generate_series(1, {USERS}) i""",
    f"i % {USERS} + 1",
)

FASTAPI_USERS_SEED = _seed(
    """CREATE TABLE "user" (
        id uuid PRIMARY KEY,
        email varchar(320) NOT NULL UNIQUE,
        hashed_password varchar(1024) NOT NULL,
        is_active boolean NOT NULL,
        is_superuser boolean NOT NULL,
        is_verified boolean NOT NULL,
        name varchar NOT NULL)""",
    "uuid",
    f"""INSERT INTO "user"
        SELECT lpad(to_hex(i), 32, '0')::uuid, 'user' || i || '@example.com', repeat('x', 97),
            i <> {DEACTIVATED}, false, true, 'User ' || i
        FROM generate_series(1, {USERS}) i""",
    f"lpad(to_hex(i % {USERS} + 1), 32, '0')::uuid",
)


def _on_node(script: str) -> StandIn:
    return StandIn(
        command=["node", f"{NODE}/{script}"],
        seed=LESSON_SEED,
        claims=lambda user: {"sub": str(user)},
        refuses_deactivated=True,
    )


STAND_INS = {
    "tutorial": StandIn(
        command=_uvicorn("contenders.tutorial:app"),
        seed=LESSON_SEED,
        claims=lambda user: {"user_id": user},
    ),
    "fastapi-users": StandIn(
        command=_uvicorn("contenders.fastapi_users_app:app"),
        seed=FASTAPI_USERS_SEED,
        claims=lambda user: {"sub": str(uuid.UUID(int=user)), "aud": ["fastapi-users:auth"]},
        refuses_deactivated=True,
    ),
    "bare": StandIn(command=_uvicorn("contenders.bare:app")),
    "express": _on_node("express.js"),
    "fastify": _on_node("fastify.js"),
}


@contextmanager
def running_stand_in(
    name: str, *, postgres: Postgres, core: str, scratch: Path
) -> Iterator[Target]:
    """Seed a database of its own for the stand-in and run it on `core`."""
    stand_in = STAND_INS[name]
    port = free_port()
    env = {"SECRET_KEY": SECRET, "PORT": str(port), "NODE_ENV": "production"}
    if stand_in.seed:
        env["DATABASE_URL"] = postgres.create_database(name)
        for statement in stand_in.seed:
            postgres.execute(name, statement)
    command = [part.format(port=port) for part in stand_in.command]
    with running_server(name, command, port=port, core=core, env=env, scratch=scratch) as server:
        yield Target(
            name=name,
            server=server,
            tokens=[stand_in.token(user) for user in range(1, TOKENS + 1)],
            refused=stand_in.refused(),
        )
