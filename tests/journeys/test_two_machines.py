"""Two machines behind haproxy, on one PostgreSQL and one Valkey."""

import re
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from urllib.parse import urlsplit

import httpx
import pytest

from tests.journeys.processes import ROOT, TIME_BUDGET, Launcher, Place, Service
from tests.machines import Machine, haproxy, machine
from tests.postgres import free_port
from tests.valkey import ValkeyServer

PASSWORD = "correct horse battery"
BODY = {"title": "Hello", "content": "A post."}

pytestmark = pytest.mark.slow


def documented_configuration() -> str:
    (found,) = re.findall(
        r"```haproxy\n(.*?)```", (ROOT / "docs" / "operating.md").read_text(), re.DOTALL
    )
    return str(found)


def forwarding(machines: list[Machine], port: int, server: str) -> str:
    """So that the machines reach what listens on 127.0.0.1 only."""
    bind = ",".join(f"{each.host}:{port}" for each in machines)
    address = urlsplit(server)
    return f"listen port{port}\n mode tcp\n bind {bind}\n server it 127.0.0.1:{address.port}\n"


class Fleet:
    def __init__(self, url: str, machines: list[Machine], services: list[Service]) -> None:
        self.url, self.machines, self.services = url, machines, services

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=TIME_BUDGET)


@pytest.fixture
def fleet(
    launcher: Launcher, tmp_path: Path, postgres_url: str, valkey: ValkeyServer
) -> Iterator[Fleet]:
    with ExitStack() as stack:
        machines = [stack.enter_context(machine()) for _ in range(2)]
        database, redis, serving, proxy = (free_port() for _ in range(4))
        configuration = documented_configuration().replace(":8080", f"127.0.0.1:{proxy}")
        for number, each in enumerate(machines, 1):
            configuration = configuration.replace(
                f"10.0.0.{number}:8000", f"{each.address}:{serving}"
            )
        configuration += forwarding(machines, database, postgres_url)
        configuration += forwarding(machines, redis, valkey.url)
        stack.enter_context(haproxy(configuration))
        services = []
        for each in machines:
            directory = tmp_path / each.name
            directory.mkdir()
            settings = {
                "ENVIRONMENT": "production",
                "SECRET_KEY": "two machines and one secret of 32 bytes or more",
                "BCRYPT_COST": "4",
                "REDIS_URL": f"redis://{each.host}:{redis}/0",
                "TRUSTED_PROXIES": "198.18.0.0/15",
                "LIMIT_REGISTRATIONS": "4/hour",
                "LIMIT_WRITES": "1000000/minute",
            }
            name = urlsplit(postgres_url).path
            place = Place(
                launcher,
                directory,
                f"postgresql://gatepost@{each.host}:{database}{name}",
                settings,
                each.within,
            )
            services.append(
                stack.enter_context(place.serving("--host", each.address, port=serving))
            )
        it = Fleet(f"http://127.0.0.1:{proxy}", machines, services)
        with it.client() as client:
            wait_for_both(client)
        yield it


def process_of(answer: httpx.Response) -> str:
    return answer.headers["X-Request-ID"].partition("-")[0] if answer.is_success else "nobody"


def wait_for_both(client: httpx.Client) -> None:
    deadline = time.monotonic() + TIME_BUDGET
    seen: set[str] = set()
    while len(seen - {"nobody"}) < 2:
        assert time.monotonic() < deadline
        seen.add(process_of(client.get("/health/live")))


def log_in(client: httpx.Client, email: str) -> dict[str, str]:
    tokens = client.post("/login", data={"username": email, "password": PASSWORD}).json()
    return {"Authorization": f"Bearer {tokens['access_token']}"}


Answers = dict[str, list[float]]
"""When each process answered."""


def use(fleet: Fleet, email: str, enough: Event, seen: Answers) -> tuple[set[int], set[int]]:
    """Read and write by one connection until it is enough: all statuses, and the posts' ids."""
    statuses, posts = set(), set()
    with fleet.client() as client:
        headers = log_in(client, email)
        while not enough.is_set():
            read = client.get("/users/me", headers=headers)
            written = client.post("/posts", headers=headers, json=BODY)
            statuses |= {read.status_code, written.status_code}
            seen[process_of(read)].append(time.monotonic())
            if written.status_code == 201:
                posts.add(written.json()["id"])
            time.sleep(0.005)
    return statuses, posts


def all_posts(client: httpx.Client, headers: dict[str, str]) -> set[int]:
    posts: set[int] = set()
    url: str | None = "/posts?limit=100"
    while url:
        answer = client.get(url, headers=headers)
        posts |= {post["id"] for post in answer.json()}
        url = answer.links.get("next", {}).get("url")
    return posts


def test_no_request_is_lost_when_a_machine_stops(fleet: Fleet) -> None:
    emails = [f"anna{number}@example.com" for number in range(4)]
    with fleet.client() as client:
        answers = [
            client.post("/users", json={"email": email, "password": PASSWORD})
            for email in [*emails, "one@example.com", "more@example.com", "still@example.com"]
        ]
        # The limit of 4 is one for both, though each of them has seen less.
        assert [answer.status_code for answer in answers] == [201] * 4 + [429] * 3

        headers = log_in(client, emails[0])
    leaver, stayer = fleet.services
    with leaver.client() as one, stayer.client() as two:
        assert one.get("/users/me", headers=headers).status_code == 200
        assert two.get("/users/me", headers=headers).status_code == 200
        assert one.post("/logout", headers=headers).status_code == 204
        assert two.get("/users/me", headers=headers).status_code == 401
        goes, stays = (process_of(each.get("/health/live")) for each in (one, two))

    enough, seen = Event(), defaultdict[str, list[float]](list)
    with ThreadPoolExecutor(len(emails)) as clients:
        try:
            using = [clients.submit(use, fleet, email, enough, seen) for email in emails]
            wait_until(lambda: min(len(seen[goes]), len(seen[stays])) > 20)
            leaver.process.send_signal(signal.SIGTERM)
            assert leaver.process.wait(TIME_BUDGET) == 0
            fleet.machines[0].kill()
            ended = time.monotonic()
            wait_until(lambda: sum(moment > ended for moment in seen[stays]) > 20)
        finally:
            enough.set()
        done = [each.result() for each in using]

    assert [statuses for statuses, _ in done] == [{200, 201}] * 4
    assert set(seen) == {goes, stays}
    assert max(seen[goes]) < ended - 1  # haproxy had noticed, not only tried again elsewhere
    with fleet.client() as client:
        written = {post for _, posts in done for post in posts}
        assert all_posts(client, log_in(client, emails[0])) == written


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIME_BUDGET
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
