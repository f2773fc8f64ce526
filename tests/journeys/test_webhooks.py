"""Webhooks of the started service: killed processes, and receivers that hang."""

import asyncio
import json
import os
import signal
import subprocess
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from domain.webhooks import secret_text, signature
from tests.journeys.processes import ROOT, Place, Service, on_both_databases
from tests.journeys.test_metrics import worker_pids
from tests.programs import program

EMAIL = "admin@example.com"
PASSWORD = "correct horse battery"
POST = {"title": "Hello", "content": "First post."}


class Receiver:
    """Notes what it is sent, and answers `status`. While `waits` is set it answers nothing and
    counts requests.
    """

    def __init__(self) -> None:
        self.received: list[tuple[dict[str, str], bytes]] = []
        self.asked = 0
        self.waits = False
        self.status = 204
        self.url = ""
        self.tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            lines = (line.split(": ", 1) for line in head.strip().split("\r\n")[1:])
            headers = {name.lower(): value for name, value in lines}
            body = await reader.readexactly(int(headers["content-length"]))
            self.asked += 1
            if self.waits:
                await asyncio.Event().wait()
            self.received.append((headers, body))
            writer.write(b"HTTP/1.1 %d \r\n\r\n" % self.status)
            await writer.drain()
        writer.close()

    def ids(self) -> Counter[str]:
        return Counter(headers["webhook-id"] for headers, _ in self.received)

    def subjects(self) -> list[str]:
        return sorted({json.loads(body)["data"]["subject"] for _, body in self.received})


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    try:
        yield receiver
    finally:
        server.close()
        for task in receiver.tasks:
            task.cancel()
        await asyncio.gather(*receiver.tasks, return_exceptions=True)


async def until(condition: Any, seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@pytest.fixture
def admins(place: Place) -> Place:
    """A place with an admin, whose service may reach the loopback."""
    place.settings |= {"WEBHOOKS_PRIVATE": "on"}
    place.run("migrate")
    assert place.run("create-admin", EMAIL, "--password-stdin", given=PASSWORD).status == 0
    return place


async def log_in(client: httpx.AsyncClient) -> None:
    form = {"username": EMAIL, "password": PASSWORD}
    token = (await client.post("/login", data=form)).json()["access_token"]
    client.headers["Authorization"] = f"Bearer {token}"


async def add_webhook(client: httpx.AsyncClient, url: str) -> dict[str, Any]:
    body = {"url": url, "events": ["post_written"]}
    answer = await client.post("/webhooks", json=body)
    assert answer.status_code == 201, answer.text
    webhook: dict[str, Any] = answer.json()
    return webhook


async def write(client: httpx.AsyncClient) -> str:
    answer = await client.post("/posts", json=POST)
    assert answer.status_code == 201, answer.text
    return f"post:{answer.json()['id']}"


async def test_receivers_are_told_of_events_and_a_hanging_one_delays_nobody(
    admins: Place,
) -> None:
    async with receiving() as good, receiving() as hanging:
        hanging.waits = True
        with admins.serving() as service:
            async with service.async_client() as client:
                await log_in(client)
                # Under another name, because concurrency is limited by host.
                await add_webhook(client, hanging.url.replace("127.0.0.1", "localhost"))
                secret = (await add_webhook(client, good.url))["secret"]
                subjects = [await write(client) for _ in range(10)]
                await until(lambda: len(good.received) == 10)
            service.process.send_signal(signal.SIGKILL)
            service.process.wait()

    assert good.subjects() == sorted(subjects)
    assert hanging.received == []
    assert hanging.asked <= 4
    for headers, body in good.received:
        assert Webhook(secret).verify(body, headers)["type"] == "post_written"


@pytest.mark.slow
@on_both_databases
async def test_a_process_that_is_killed_between_commit_and_job_or_send_and_note_loses_nothing(
    admins: Place,
) -> None:
    async with receiving() as receiver:
        with admins.serving("--workers", "2") as service:
            subjects = await _posts_while_workers_die(service, receiver)
            # A minute for the lease of what the dead ones were at.
            await until(lambda: set(subjects) <= set(receiver.subjects()), 100)

    bodies = {(headers["webhook-id"], body) for headers, body in receiver.received}
    assert len(bodies) == len(receiver.ids()), "a double has the id and the body of the first"
    assert len(receiver.ids()) == len(receiver.subjects())


async def _posts_while_workers_die(service: Service, receiver: Receiver) -> list[str]:
    """Write posts, and kill a worker as soon as it sends one, before it is answered."""
    subjects = []
    async with service.async_client() as client:
        await log_in(client)
        await add_webhook(client, receiver.url)
    for round_ in range(3):
        receiver.waits = round_ < 2
        asked = receiver.asked
        for _ in range(5):
            async with service.async_client() as client:
                for attempt in range(50):
                    try:
                        await log_in(client)
                        subjects.append(await write(client))
                        break
                    except httpx.TransportError:
                        assert attempt < 49
                        await asyncio.sleep(0.2)
        if receiver.waits:
            await until(partial(_is_asked_again, receiver, asked))
            for pid in worker_pids(service):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
    return subjects


def _is_asked_again(receiver: Receiver, asked: int) -> bool:
    return receiver.asked > asked


@pytest.mark.slow
@on_both_databases
async def test_a_job_whose_only_process_is_killed_right_after_the_commit_is_done_later(
    admins: Place,
) -> None:
    async with receiving() as receiver:
        with admins.serving() as service:
            async with service.async_client() as client:
                await log_in(client)
                await add_webhook(client, receiver.url)
                subjects = [await write(client)]
            service.process.send_signal(signal.SIGKILL)  # in most runs before it is sent
            service.process.wait()
        with admins.serving() as service:
            await until(lambda: receiver.subjects() == subjects, 100)

    assert len(receiver.ids()) == 1


@pytest.mark.slow
def test_a_delivery_is_verified_by_node(tmp_path: Path) -> None:
    options = ("--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts")
    fetched = subprocess.run(
        [program("npm"), "install", *options, "standardwebhooks@1.1.1"],
        cwd=tmp_path,
        env=os.environ | {"npm_config_cache": str(ROOT / ".venv" / "npm")},
        capture_output=True,
        text=True,
        check=False,
    )
    if fetched.returncode:
        pytest.skip(f"npm cannot fetch it: {fetched.stderr}")
    now, secret, body = datetime.now(UTC), secret_text(b"x" * 32), '{"type":"a"}'
    script = (
        "const { Webhook } = require('standardwebhooks');"
        "const [secret, body, headers] = JSON.parse(process.argv[1]);"
        "new Webhook(secret).verify(body, headers); console.log('verified');"
    )
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": signature(secret, "msg_1", now, body),
    }
    done = subprocess.run(
        ["node", "-e", script, json.dumps([secret, body, headers])],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout.strip() == "verified", done.stderr
