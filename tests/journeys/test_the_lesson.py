"""The lesson from end to end: a real service, real HTTP, a real database behind it."""

import asyncio
import json
import socket
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest

from tests.journeys.processes import Place, Service, on_both_databases

PASSWORD = "correct horse battery"
SECRET = "vX3kQ8mZ5rT1wN7yB4sL9dH2jF6gC0pU"

Sql = Callable[[str], None]


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    with service.client() as client:
        yield client


@pytest.fixture
def sql(service: Service) -> Sql:
    """Change the database behind the service's back."""
    url = service.place.database_url

    def on_sqlite(statement: str) -> None:
        with sqlite3.connect(url.removeprefix("sqlite:///"), timeout=5) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            assert connection.execute(statement).rowcount == 1
        connection.close()

    async def on_postgresql(statement: str) -> None:
        connection = await asyncpg.connect(url)
        assert (await connection.execute(statement)).endswith(" 1")
        await connection.close()

    if url.startswith("sqlite"):
        return on_sqlite
    return lambda statement: asyncio.run(on_postgresql(statement))


@dataclass(frozen=True)
class Newcomer:
    """Somebody whom no other test knows, logged in."""

    id: int
    email: str
    headers: dict[str, str]


def register(client: httpx.Client, email: str, **members: str) -> httpx.Response:
    return client.post("/users", json={"email": email, "password": PASSWORD} | members)


def log_in(client: httpx.Client, email: str) -> dict[str, str]:
    answer = client.post("/login", data={"username": email, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def newcomer(client: httpx.Client) -> Newcomer:
    email = f"newcomer-{uuid4().hex[:12]}@example.com"
    registered = register(client, email)
    assert registered.status_code == 201, registered.text
    return Newcomer(registered.json()["id"], email, log_in(client, email))


@on_both_databases
def test_the_lesson(client: httpx.Client) -> None:
    registered = register(client, "anna@example.com", name="Anna")
    assert registered.status_code == 201
    anna = log_in(client, "ANNA@example.com")

    me = client.get("/users/me", headers=anna)
    assert me.status_code == 200
    assert me.json() == registered.json()
    assert client.get(registered.headers["Location"], headers=anna).json() == me.json()

    written = client.post("/posts", json={"title": "Hello", "content": "First."}, headers=anna)
    assert written.status_code == 201
    post = written.json()
    assert post["owner"] == {"id": me.json()["id"], "name": "Anna"}

    path = written.headers["Location"]
    assert client.get(path, headers=anna).json() == post
    replaced = client.put(path, json={"title": "Hello", "content": "Second."}, headers=anna)
    assert replaced.status_code == 200
    assert replaced.json()["content"] == "Second."
    own = {"owner_id": post["owner_id"]}
    assert client.get("/posts", params=own, headers=anna).json() == [replaced.json()]

    bert = newcomer(client).headers
    assert client.get(path, headers=bert).json() == replaced.json()
    assert client.put(path, json={"title": "x", "content": "x"}, headers=bert).status_code == 403
    assert client.delete(path, headers=bert).status_code == 403
    assert client.get(path).status_code == 401

    assert client.delete(path, headers=anna).status_code == 204
    gone = client.get(path, headers=anna)
    assert gone.status_code == 404
    assert gone.json()["detail"] == f"Post with id: {post['id']} was not found"


@on_both_databases
@pytest.mark.parametrize(
    "end",
    ["UPDATE users SET is_active = false WHERE id = {}", "DELETE FROM users WHERE id = {}"],
    ids=["deactivated", "deleted"],
)
def test_a_token_is_refused_on_the_next_request_after_its_revocation(
    client: httpx.Client, sql: Sql, end: str
) -> None:
    anna, bert = newcomer(client), newcomer(client)
    assert client.get("/users/me", headers=anna.headers).status_code == 200

    sql(end.format(anna.id))

    refused = client.get("/users/me", headers=anna.headers)
    assert refused.status_code == 401
    assert refused.json()["detail"] == "Could not validate credentials"
    assert client.get("/users/me", headers=bert.headers).status_code == 200


@on_both_databases
async def test_of_two_concurrent_registrations_of_an_address_one_is_201_and_one_409(
    service: Service,
) -> None:
    async with service.async_client() as client:

        async def register(email: str) -> httpx.Response:
            return await client.post("/users", json={"email": email, "password": PASSWORD})

        for attempt in range(10):
            answers = await asyncio.gather(
                register(f"racer{attempt}@example.com"), register(f"RACER{attempt}@example.com")
            )
            assert sorted(answer.status_code for answer in answers) == [201, 409]


@on_both_databases
async def test_many_clients_write_and_read_at_the_same_time(service: Service) -> None:
    async def work(number: int) -> None:
        email = f"worker{number}@example.com"
        async with service.async_client() as client:
            registered = await client.post("/users", json={"email": email, "password": PASSWORD})
            assert registered.status_code == 201, registered.text
            login = await client.post("/login", data={"username": email, "password": PASSWORD})
            client.headers["Authorization"] = f"Bearer {login.json()['access_token']}"
            for n in range(5):
                body = {"title": f"{number}.{n}", "content": email}
                written = await client.post("/posts", json=body)
                assert written.status_code == 201, written.text
                assert written.json()["owner_id"] == registered.json()["id"]
                assert (await client.get("/users/me")).json()["email"] == email
            own = await client.get("/posts", params={"owner_id": registered.json()["id"]})
            assert [post["title"] for post in own.json()] == [
                f"{number}.{n}" for n in (4, 3, 2, 1, 0)
            ]

    await asyncio.gather(*(work(number) for number in range(4)))


def test_a_log_line_names_the_user_by_their_address_in_development(
    service: Service, client: httpx.Client
) -> None:
    anna = newcomer(client)
    requests = {
        "created": client.post("/posts", json={"title": "x", "content": "x"}, headers=anna.headers),
        "listed": client.get("/posts?limit=5", headers=anna.headers),
        "missing": client.get("/posts/4711", headers=anna.headers),
    }
    nobody = client.get("/users/me")

    for answer in requests.values():
        line = service.wait_for_line(f"request_id={answer.headers['X-Request-ID']} user_id=")
        assert anna.email in line
        assert f"{answer.request.method} {answer.request.url.path} " in line
        assert str(answer.status_code) in line
    assert "@" not in service.wait_for_line(nobody.headers["X-Request-ID"])
    assert PASSWORD not in service.log.read_text()
    assert anna.headers["Authorization"].split()[1] not in service.log.read_text()


def test_in_production_the_log_is_json_and_names_no_address(place: Place) -> None:
    place.settings |= {"ENVIRONMENT": "production", "SECRET_KEY": SECRET, "DRAIN_SECONDS": "0"}
    with place.serving() as service:
        with service.client() as client:
            anna = newcomer(client)
            client.get("/users/me", headers=anna.headers | {"X-Request-ID": "mine"})
        line: dict[str, Any] = json.loads(service.wait_for_line("/users/me"))

        assert line["message"] == "GET /users/me"
        assert line["level"] == "info"
        assert (line["status"], line["user_id"]) == (200, anna.id)
        assert line["request_id"] == "mine"
    log = service.log.read_text()
    assert "@" not in log
    assert all(json.loads(line) for line in log.splitlines())


def test_a_body_of_ten_megabytes_is_refused_over_a_real_connection_too(
    client: httpx.Client,
) -> None:
    anna = newcomer(client)
    headers = anna.headers | {"Content-Type": "application/json"}

    announced = client.post("/posts", content=b" " * 10_000_000, headers=headers)
    chunked = client.post("/posts", content=iter([b" " * 65_536] * 160), headers=headers)

    for answer in (announced, chunked):
        assert answer.status_code == 413
        assert answer.headers["Content-Type"] == "application/problem+json"
    assert client.get("/users/me", headers=anna.headers).status_code == 200


def test_garbage_instead_of_http_is_a_400_and_the_service_goes_on(
    service: Service, client: httpx.Client
) -> None:
    url = httpx.URL(service.url)

    for garbage in (b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/9\r\n\r\n", b"\0" * 70_000):
        with socket.create_connection((url.host, url.port or 0), timeout=5) as connection:
            connection.sendall(garbage)
            assert connection.recv(100).startswith(b"HTTP/1.1 400 ")

    assert client.get("/health/ready").status_code == 200
