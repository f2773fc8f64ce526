"""Two workers of the real service that show posts from a real standby."""

import asyncio
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.journeys.processes import TIME_BUDGET, Place, Service
from tests.postgres import PostgresServer
from tests.standby import Standby, running_standby

PASSWORD = "correct horse battery"
WORKERS = 2
ENOUGH = 8
"""Connections that surely reach both workers."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("kind", ["postgresql"], indirect=True),
]


@pytest.fixture(scope="module")
def standby(postgres: PostgresServer) -> Iterator[Standby]:
    with running_standby(postgres) as standby:
        yield standby


def person(service: Service, name: str) -> dict[str, str]:
    """Somebody with a token, as a header."""
    email = f"{name}@example.com"
    with service.client() as client:
        registration = {"email": email, "password": PASSWORD, "name": name}
        assert client.post("/users", json=registration).status_code == 201
        login = client.post("/login", data={"username": email, "password": PASSWORD})
    return {"Authorization": f"Bearer {login.json()['access_token']}"}


def from_all_workers(service: Service, path: str, headers: dict[str, str]) -> list[httpx.Response]:
    """The same request again and again, each by a connection of its own."""
    with service.client() as client:
        own_connection = headers | {"Connection": "close"}
        return [client.get(path, headers=own_connection) for _ in range(ENOUGH)]


def wait_for_lines(service: Service, part: str, number: int) -> None:
    deadline = time.monotonic() + TIME_BUDGET
    while service.log.read_text().count(part) < number:
        assert time.monotonic() < deadline, service.log.read_text()
        time.sleep(0.02)


def test_authors_never_read_an_older_post_of_their_own_and_no_request_fails_with_the_replica(
    place: Place, standby: Standby
) -> None:
    name = place.database_url.rpartition("/")[2]
    asyncio.run(standby.catch_up())
    place.settings["DATABASE_REPLICA_URL"] = standby.server.url(name)
    with place.serving("--workers", str(WORKERS)) as service:
        wait_for_lines(service, "posts are read from the replica", WORKERS)
        anna, bob = person(service, "Anna"), person(service, "Bob")
        with service.client() as client:
            body = {"title": "Old", "content": "Text."}
            written = client.post("/posts", json=body, headers=anna)
        path, old_tag = written.headers["Location"], written.headers["ETag"]

        async def edit_while_the_standby_stands_still() -> None:
            async with standby.paused():
                with service.client() as client:
                    edited = client.put(path, json=body | {"title": "New"}, headers=anna)
                    tag = edited.headers["ETag"]
                    # Before anything else: after five seconds the standby is too far behind.
                    assert client.get(path, headers=bob).json()["title"] == "Old"
                for known, status in ((old_tag, 200), (tag, 304)):
                    conditional = anna | {"If-None-Match": known}
                    answers = from_all_workers(service, path, conditional)
                    assert {answer.status_code for answer in answers} == {status}
                    assert {answer.headers["ETag"] for answer in answers} == {tag}
                for query in ("", "?q=new"):
                    answers = from_all_workers(service, f"/posts{query}", anna)
                    assert {answer.json()[0]["title"] for answer in answers} == {"New"}

        asyncio.run(edit_while_the_standby_stands_still())
        assert {seen.json()["title"] for seen in from_all_workers(service, path, bob)} == {"New"}

        standby.server.kill()
        for reader in (anna, bob):
            for url in (path, "/posts", "/posts?q=new"):
                answers = from_all_workers(service, url, reader)
                assert {answer.status_code for answer in answers} == {200}
        with service.client() as client:
            assert client.get("/health/ready").status_code == 200
        wait_for_lines(service, "posts are read from the primary, not from the replica", WORKERS)

        returned = service.log.read_text().count("posts are read from the replica")
        standby.server.start()
        wait_for_lines(service, "posts are read from the replica", returned + WORKERS)


def test_a_replica_of_another_kind_of_database_is_refused(place: Place, standby: Standby) -> None:
    expected = "GATEPOST_DATABASE_REPLICA_URL: must be a standby of a PostgreSQL DATABASE_URL"
    place.settings["DATABASE_REPLICA_URL"] = "sqlite:///gatepost.db"
    assert place.refusal("serve") == expected

    place.settings["DATABASE_REPLICA_URL"] = standby.server.url("secret")
    place.database_url = "sqlite:///gatepost.db"
    assert place.refusal("serve") == expected

    place.settings["DATABASE_REPLICA_URL"] = "mysql://gatepost:secret@localhost/gatepost"
    assert place.refusal("serve").startswith("GATEPOST_DATABASE_REPLICA_URL: must be sqlite")
