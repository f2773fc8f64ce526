"""Responses to failures of the service and the database."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from api.app import create_app
from domain.sessions import Session, SessionId
from domain.users import User
from infrastructure.database.driver.engine import open_database
from infrastructure.database.queries import SqlQueries
from infrastructure.database.unit_of_work import SqlStorage
from tests.api.client import ApiClient, client_of, client_on, on_one_database, problem_of
from tests.api.conftest import CORS_ORIGIN

pytestmark = on_one_database

SECRET = "the password is open-sesame"
NOWHERE = f"postgresql://gatepost:{SECRET.replace(' ', '-')}@127.0.0.1:1/gatepost"


class CrashingQueries(SqlQueries):
    async def session_user(self, session_id: SessionId) -> tuple[Session, User] | None:
        raise RuntimeError(SECRET)


async def test_a_crash_is_a_500_without_details_and_a_traceback_in_the_log(
    api: ApiClient, caplog: pytest.LogCaptureFixture
) -> None:
    anna = await api.person()
    ports = replace(api.ports, queries=CrashingQueries(api.database))

    async with client_on(ports) as client:
        answer = await client.get("/users/me", headers=anna.headers | {"X-Request-ID": "crash-1"})

    problem = problem_of(answer, 500, "internal_error")
    assert problem["detail"] == "Something went wrong on our side"
    assert problem["request_id"] == "crash-1"
    assert SECRET not in answer.text + str(answer.headers)
    (record,) = (record for record in caplog.records if record.name == "gatepost")
    assert vars(record)["fields"] == {"request_id": "crash-1"}
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], RuntimeError)


async def test_a_500_can_be_read_from_an_allowed_origin(api: ApiClient) -> None:
    anna = await api.person()
    ports = replace(api.ports, queries=CrashingQueries(api.database))
    app = create_app(ports, cursor_keys=[b"k" * 32], cors_origins=[CORS_ORIGIN])

    async with client_of(app) as client:
        named = await client.get("/users/me", headers=anna.headers | {"Origin": CORS_ORIGIN})
        other = await client.get("/users/me", headers=anna.headers | {"Origin": "https://x.org"})

    problem_of(named, 500, "internal_error")
    assert named.headers["Access-Control-Allow-Origin"] == CORS_ORIGIN
    assert "X-Request-ID" in named.headers["Access-Control-Expose-Headers"]
    problem_of(other, 500, "internal_error")
    assert "Access-Control-Allow-Origin" not in other.headers


async def test_the_service_continues_after_a_crash(api: ApiClient) -> None:
    anna = await api.person()
    ports = replace(api.ports, queries=CrashingQueries(api.database))

    async with client_on(ports) as client:
        assert (await client.get("/users/me", headers=anna.headers)).status_code == 500
        assert (await client.get("/health/ready")).status_code == 200


async def test_an_unreachable_database_is_503_with_retry_after(api: ApiClient) -> None:
    anna = await api.person()
    database = open_database(NOWHERE, timeout=0.5)
    await database.open()
    ports = replace(api.ports, queries=SqlQueries(database), storage=SqlStorage(database))
    registration = {"email": "bert@example.com", "password": "correct horse battery"}
    form = {"username": anna.email, "password": "correct horse battery"}

    async with client_on(ports) as client:
        answers = [
            await client.get("/users/me", headers=anna.headers),
            await client.get("/posts", headers=anna.headers),
            await client.post("/posts", json={}, headers=anna.headers),
            await client.post("/posts", content=b"{", headers=anna.headers),
            await client.post("/users", json=registration),
            await client.post("/login", data=form),
        ]
        ready, live = await client.get("/health/ready"), await client.get("/health/live")
    await database.close()

    for answer in answers:
        problem = problem_of(answer, 503, "database_unavailable")
        assert problem["detail"] == "The database does not answer"
        assert int(answer.headers["Retry-After"]) >= 1
    assert problem_of(ready, 503, "not_ready")["detail"] == "Not ready: database"
    assert int(ready.headers["Retry-After"]) >= 1
    assert live.status_code == 200
    assert "open-sesame" not in "".join(answer.text for answer in [*answers, ready, live])


async def test_a_missing_schema_is_503_and_named(api: ApiClient, tmp_path: Path) -> None:
    anna = await api.person()
    database = open_database(f"sqlite:///{tmp_path / 'empty.db'}")
    await database.open()
    ports = replace(api.ports, queries=SqlQueries(database), storage=SqlStorage(database))

    async with client_on(ports) as client:
        answer = await client.get("/users/me", headers=anna.headers)
        ready = await client.get("/health/ready")
    await database.close()

    problem_of(answer, 503, "schema_missing")
    assert problem_of(ready, 503, "not_ready")["detail"] == "Not ready: migrations"


async def test_a_writer_that_waits_too_long_is_503_and_readers_are_not_affected(
    api: ApiClient, database_url: str
) -> None:
    anna = await api.person()
    database = open_database(database_url, timeout=0.05)
    await database.open()
    ports = replace(api.ports, queries=SqlQueries(database), storage=SqlStorage(database))
    body = {"title": "Hello", "content": "First post."}
    other = sqlite3.connect(database_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    async with client_on(ports) as client:
        refused = await client.post("/posts", json=body, headers=anna.headers)
        reads = await client.get("/posts", headers=anna.headers)
        other.execute("ROLLBACK")
        taken = await client.post("/posts", json=body, headers=anna.headers)
    other.close()
    await database.close()

    problem_of(refused, 503, "takes_no_changes")
    assert refused.headers["Retry-After"]
    assert (reads.status_code, taken.status_code) == (200, 201)
