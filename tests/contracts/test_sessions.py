"""The bound on live sessions, and the cost of revoked ones."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from domain.sessions import SESSIONS_MAX, InvalidCredentials, Method, Session
from domain.users import User
from infrastructure.database import sessions as sql
from infrastructure.database.driver.addresses import sqlite_path
from infrastructure.database.driver.connections import DIALECT as POSTGRESQL
from infrastructure.database.driver.sqlite import DIALECT as SQLITE
from infrastructure.database.driver.statements import compiled
from tests.contracts.backends import PASSWORD, Backend
from tests.factories import NewSessionFactory
from tests.fakes.clock import NOON

LATER = NOON + timedelta(hours=1)


async def fill(backend: Backend, user: User) -> list[Session]:
    """As many sessions of `user` as may go on, all used last at `NOON`."""
    async with backend.storage() as uow:
        sessions = [
            await uow.sessions.add(
                NewSessionFactory.build(user_id=user.id, refresh_hash=f"{user.id} {n}"), PASSWORD
            )
            for n in range(SESSIONS_MAX)
        ]
        await uow.commit()
    return sessions


async def living(backend: Backend, user: User) -> set[int]:
    return {session.id for session in await backend.queries.sessions(user.id, LATER)}


async def test_a_session_knows_what_its_login_proved(backend: Backend) -> None:
    anna = await backend.add_user()
    methods = (Method.HARDWARE_KEY, Method.USER_PRESENCE)

    session = await backend.add_session(anna, methods=methods)

    found = await backend.queries.session_user(session.id)
    assert found is not None
    for each in (session, found[0]):
        assert each.methods == methods
        assert each.proved_at == each.factor_proved_at == NOON


async def test_a_surplus_session_revokes_the_least_recently_used_one(backend: Backend) -> None:
    anna, bob = await backend.add_user(), await backend.add_user()
    of_bob = await backend.add_session(bob)
    first, second, *rest = await fill(backend, anna)
    async with backend.storage() as uow:
        used = replace(first, last_used_at=NOON + timedelta(minutes=1))
        assert await uow.sessions.rotate(
            used, used_hash=f"{anna.id} 0", new_hash="fresh", nonce="nonce"
        )
        await uow.commit()

    newest = await backend.add_session(anna, created_at=LATER)

    assert await living(backend, anna) == {first.id, newest.id, *(one.id for one in rest)}
    assert await living(backend, bob) == {of_bob.id}
    found = await backend.queries.session_user(second.id)
    assert found is not None
    assert found[0].revoked_at == LATER


async def test_an_expired_or_revoked_session_does_not_count(backend: Backend) -> None:
    anna = await backend.add_user()
    expired = await backend.add_session(anna, expires_at=NOON + timedelta(minutes=1))
    first, *rest = await fill(backend, anna)
    async with backend.storage() as uow:
        await uow.sessions.revoke(first.id, anna.id, NOON)
        await uow.commit()

    newest = await backend.add_session(anna, created_at=NOON + timedelta(minutes=2))

    assert await living(backend, anna) == {newest.id, *(one.id for one in rest)}
    assert expired.id not in await living(backend, anna)


# What the databases do

ENDED = """
INSERT INTO sessions (user_id, created_at, last_used_at, expires_at, revoked_at, refresh_hash)
SELECT {user}, {now}, {now}, {now}, {now}, 'old ' || n FROM {numbers}
"""
ROWS = 20_000
STATEMENTS = [sql._BY_USER, sql._REVOKE_ALL, sql._REVOKE_SURPLUS]


VALUES = {"owner": 1, "now": NOON, "but": 0}


def plans_on_sqlite(path: Path) -> list[str]:
    numbers = f"WITH RECURSIVE ns AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM ns LIMIT {ROWS}) "
    plans = []
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(numbers + ENDED.format(user=1, now=0, numbers="ns"))
        for clause in STATEMENTS:
            statement = compiled(clause, SQLITE)
            plan = connection.execute(
                f"EXPLAIN QUERY PLAN {statement.sql}", statement.arguments(VALUES)
            )
            plans.append(str(plan.fetchall()))
    return plans


async def plans_on_postgresql(url: str) -> list[str]:
    plans = []
    connection = await asyncpg.connect(url)
    numbers = f"generate_series(1, {ROWS}) AS ns (n)"
    await connection.execute(ENDED.format(user=1, now="now()", numbers=numbers))
    await connection.execute("ANALYZE sessions")
    for clause in STATEMENTS:
        statement = compiled(clause, POSTGRESQL)
        plan = await connection.fetch(f"EXPLAIN {statement.sql}", *statement.arguments(VALUES))
        plans.append(str(plan))
    await connection.close()
    return plans


async def test_revoked_sessions_are_not_read_again(
    backend: Backend, backend_url: str | None
) -> None:
    if backend_url is None:
        pytest.skip("a fake has no indexes")
    await backend.add_user()

    path = sqlite_path(backend_url)
    plans = plans_on_sqlite(path) if path else await plans_on_postgresql(backend_url)

    assert len(plans) == len(STATEMENTS)
    for plan in plans:
        assert "ix_sessions_user_id_unrevoked" in plan
        assert "ix_sessions_user_id_network" not in plan


async def test_a_login_that_read_the_account_before_its_enrolment_starts_no_session(
    backend: Backend,
) -> None:
    anna = await backend.add_user()
    async with backend.storage() as uow:
        found = await uow.users.get(anna.id)
        assert found
        found.user.second_factor_since = NOON
        await uow.users.save(found.user)
        await uow.commit()

    with pytest.raises(InvalidCredentials):
        await backend.add_session(anna)
    added = await backend.add_session(anna, second_factor_since=NOON)
    assert added.user_id == anna.id
