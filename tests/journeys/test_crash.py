"""A service that is killed in the middle, and the client that tries again."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import asyncpg
import httpx
import pytest

from tests.journeys.processes import Place, Service, on_both_databases

PASSWORD = "correct horse battery"
BODY = {"title": "Hello", "content": "First post."}


def login(service: Service, *, register: bool = False) -> dict[str, str]:
    with service.client() as client:
        if register:
            person = {"email": "anna@example.com", "password": PASSWORD}
            assert client.post("/users", json=person).status_code == 201
        form = {"username": "anna@example.com", "password": PASSWORD}
        token = client.post("/login", data=form).json()["access_token"]
    return {"Authorization": f"Bearer {token}"}


def send(service: Service, headers: dict[str, str], key: str) -> httpx.Response:
    with service.client() as client:
        return client.post("/posts", json=BODY, headers=headers | {"Idempotency-Key": key})


@on_both_databases
def test_a_retry_after_a_crash_writes_no_second_post(place: Place) -> None:
    with place.serving() as service:
        headers = login(service, register=True)
    for number, delay in enumerate((0.0, 0.003, 0.01)):
        with place.serving() as service, ThreadPoolExecutor(1) as thread:
            login(service)  # so that it is warm, and the delays lie within the request
            sent = thread.submit(send, service, headers, str(number))
            time.sleep(delay)
            service.process.kill()
            service.process.wait()
            with suppress(httpx.TransportError):
                sent.result()
    with place.serving() as service:
        ids = [send(service, headers, str(number)).json()["id"] for number in range(3)]
        with service.client() as client:
            posts = client.get("/posts", headers=headers).json()
    # A post whose crash was too early for it is written now, after later ones.
    assert [post["id"] for post in posts] == sorted(ids, reverse=True)


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)  # no statement of SQLite waits
def test_a_crash_between_the_post_and_its_commit_leaves_neither_post_nor_key(
    place: Place,
) -> None:
    with place.serving() as service:
        headers = login(service, register=True)

    async def kill_while_the_key_waits() -> None:
        with place.serving() as service, ThreadPoolExecutor(1) as thread:
            connection = await asyncpg.connect(place.database_url)
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute("LOCK TABLE idempotency_keys IN EXCLUSIVE MODE")
            sent = thread.submit(send, service, headers, "key")
            while not await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            service.process.kill()
            service.process.wait()
            with suppress(httpx.TransportError):
                sent.result()
            await transaction.rollback()
            await connection.close()

    asyncio.run(kill_while_the_key_waits())
    with place.serving() as service:
        again = send(service, headers, "key")
        assert again.status_code == 201
        assert "Idempotency-Replayed" not in again.headers
        with service.client() as client:
            assert client.get("/posts", headers=headers).json() == [again.json()]
