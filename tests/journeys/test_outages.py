"""A service whose database goes away in every way there is, and comes back."""

import json
import resource
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from secrets import token_urlsafe
from threading import Event
from typing import Any

import httpx
import pytest

from infrastructure.database.readiness import HOLDS
from tests.journeys.processes import TIME_BUDGET, Launcher, Place, Service
from tests.postgres import MIGRATED, PostgresServer, running_postgres
from tests.programs import missing
from tests.proxy import Proxy, proxy_to

PERSON = {"email": "anna@example.com", "password": "correct horse battery"}
FORM = {"username": PERSON["email"], "password": PERSON["password"]}
MAX_SECONDS = 2.0
"""Within which everything is answered, and the service is back: what the contract promises."""
CONNECTIONS = 16


@dataclass
class Client:
    """Somebody who is logged in, and keeps count of what they were told."""

    service: Service
    http: httpx.Client
    headers: Mapping[str, str] = field(default_factory=dict)
    told: dict[str, int] = field(default_factory=dict)
    """By Idempotency-Key, the last status."""

    _keys: Iterator[int] = field(default_factory=count)

    def log_in(self) -> None:
        token = self.http.post("/login", data=FORM).json()["access_token"]
        self.headers = {"Authorization": f"Bearer {token}"}

    def send(self, key: str) -> httpx.Response:
        answer = self.http.post(
            "/posts",
            json={"title": key, "content": "Hello. " * 2000},
            headers={**self.headers, "Idempotency-Key": key},
        )
        self.told[key] = answer.status_code
        return answer

    def post(self) -> httpx.Response:
        return self.send(f"key-{next(self._keys)}")

    def get(self, path: str) -> httpx.Response:
        return self.http.get(path, headers=self.headers)

    def works(self) -> bool:
        answers = [
            self.get("/health/ready"),
            self.get("/users/me"),
            self.get("/posts"),
            self.post(),
        ]
        return [answer.status_code for answer in answers] == [200, 200, 200, 201]

    def is_back_in_time(self) -> None:
        deadline = time.monotonic() + MAX_SECONDS
        while not self.works():
            assert time.monotonic() < deadline, self.service.log.read_text()
            time.sleep(0.02)

    def is_red_in_time(self) -> httpx.Response:
        """The first answer of `/health/ready` that is none of before the harm."""
        deadline = time.monotonic() + MAX_SECONDS
        while (answer := self.get("/health/ready")).status_code == 200:
            assert time.monotonic() < deadline, self.service.log.read_text()
            time.sleep(0.02)
        return answer

    def titles(self) -> list[str]:
        titles: list[str] = []
        path: str | None = "/posts?limit=100"
        while path:
            page = self.get(path)
            titles += [post["title"] for post in page.json()]
            path = page.links.get("next", {}).get("url")
        return titles

    def settle(self) -> None:
        """Everything that was asked for is there once, by the time everything was sent again."""
        titles = self.titles()
        assert {key for key, status in self.told.items() if status == 201} <= set(titles)
        for key, status in list(self.told.items()):
            if status != 201:
                assert self.send(key).status_code == 201
        assert sorted(self.titles()) == sorted(self.told)


@dataclass
class Scene:
    client: Client
    server: PostgresServer
    proxy: Proxy
    database: str
    lines: int = 0

    def new_lines(self) -> list[dict[str, Any]]:
        """What was logged since the last time."""
        lines = self.client.service.log.read_text().splitlines()
        new, self.lines = lines[self.lines :], len(lines)
        return [json.loads(line) for line in new]

    def lines_until(self, message: str) -> list[dict[str, Any]]:
        deadline = time.monotonic() + TIME_BUDGET
        lines = self.new_lines()
        while not any(line["message"].startswith(message) for line in lines):
            assert time.monotonic() < deadline, lines
            time.sleep(0.05)
            self.client.get("/health/ready")
            lines += self.new_lines()
        return lines


def client_of(service: Service) -> httpx.Client:
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=100)
    return httpx.Client(base_url=service.url, timeout=TIME_BUDGET, limits=limits)


@pytest.fixture(scope="module")
def scene(
    postgres: PostgresServer,
    launcher: Launcher,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Scene]:
    """A service whose database is behind a proxy, with a role that may be kept out."""
    name = "outages"
    postgres.create_database(name, template=MIGRATED)
    postgres.execute("CREATE ROLE app LOGIN IN ROLE gatepost")
    with proxy_to(postgres.port) as proxy:
        url = f"postgresql://app@127.0.0.1:{proxy.port}/{name}"
        place = Place(launcher, tmp_path_factory.mktemp("outages"), url)
        place.settings |= {"LOG_FORMAT": "json", "DATABASE_CONNECTIONS": str(CONNECTIONS)}
        with place.serving() as service, client_of(service) as http:
            assert http.post("/users", json=PERSON).status_code == 201
            client = Client(service, http)
            client.log_in()
            yield Scene(client, postgres, proxy, name)
    postgres.drop_database(name)
    postgres.execute("DROP ROLE app")


def frozen(scene: Scene) -> Callable[[], None]:
    scene.server.freeze()
    return scene.server.thaw


def killed(scene: Scene) -> Callable[[], None]:
    scene.server.kill()
    return scene.server.start


def refusing(scene: Scene) -> Callable[[], None]:
    scene.proxy.refuse()
    return scene.proxy.heal


def unreachable(scene: Scene) -> Callable[[], None]:
    scene.proxy.swallow()
    return scene.proxy.heal


def out_of_connections(scene: Scene) -> Callable[[], None]:
    scene.server.execute("ALTER ROLE app CONNECTION LIMIT 0")
    scene.server.cut_off("app")
    return lambda: scene.server.execute("ALTER ROLE app CONNECTION LIMIT -1")


def answers_while_away(client: Client) -> list[httpx.Response]:
    """Too much at once, and more of it than there are connections."""
    requests: list[Callable[[], httpx.Response]] = [
        *[lambda: client.get("/users/me")] * 12,
        *[client.post] * 6,
        *[lambda: client.get("/posts?limit=3")] * 6,
        *[lambda: client.get("/posts/1")] * 6,
        *[lambda: client.http.post("/refresh", data={"refresh_token": token_urlsafe(32)})] * 4,
        *[lambda: client.http.post("/login", data=FORM)] * 2,
        *[lambda: client.get("/health/ready")] * 2,
    ]
    with ThreadPoolExecutor(len(requests)) as threads:
        return [sent.result() for sent in [threads.submit(request) for request in requests]]


@pytest.mark.parametrize("harm", [frozen, killed, refusing, out_of_connections, unreachable])
def test_every_request_is_answered_in_time_during_an_outage_and_succeeds_after_it(
    scene: Scene, harm: Callable[[Scene], Callable[[], None]]
) -> None:
    client = scene.client
    assert client.works()
    time.sleep(HOLDS)  # the log is written by then, and readiness is looked up again
    scene.new_lines()

    heal = harm(scene)
    try:
        answers = answers_while_away(client)
        live = client.get("/health/live")
    finally:
        heal()
    client.is_back_in_time()

    for answer in answers:
        assert answer.status_code == 503, answer.text
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert int(answer.headers["Retry-After"]) >= 1
    assert {answer.json()["code"] for answer in answers[:-2]} <= {
        "database_busy",
        "database_unavailable",
        "outcome_unknown",
    }
    assert answers[-1].json()["detail"] == "Not ready: database"
    assert live.status_code == 200
    lines = scene.lines_until("the database answers again")
    requests = [line for line in lines if "duration_ms" in line]
    assert len(requests) > len(answers)
    assert max(line["duration_ms"] for line in requests) < MAX_SECONDS * 1000
    said = [line["message"] for line in lines if line["level"] != "info"]
    assert len(said) == 2, said
    client.settle()
    # What works in the background has survived as well.
    assert client.http.post("/users/me/verification", headers=client.headers).status_code == 202
    scene.lines_until("verification_requested")
    if harm is not unreachable:  # the server does not know yet
        scene.server.wait_until_calm(scene.database, at_most=CONNECTIONS)


def test_a_slow_database_gets_the_time_budget_of_the_request(scene: Scene) -> None:
    """A round trip takes half a second: a read has the time for its one, a post with a key not for
    its eight.
    """
    client = scene.client
    assert client.works()
    time.sleep(0.1)
    scene.new_lines()

    scene.proxy.delay = 0.25
    try:
        statuses = [client.get("/users/me").status_code, client.post().status_code]
    finally:
        scene.proxy.heal()
    client.is_back_in_time()

    assert statuses == [200, 503]
    lines = scene.lines_until("the database answers again")
    slowest = max(line.get("duration_ms", 0) for line in lines)
    assert 1000 < slowest < MAX_SECONDS * 1000
    client.settle()


@dataclass
class Pair:
    """A primary whose commits wait for its standby, and a service that knows both."""

    client: Client
    primary: PostgresServer
    standby: PostgresServer


@pytest.fixture
def pair(postgres: PostgresServer, launcher: Launcher, tmp_path: Path) -> Iterator[Pair]:
    with running_postgres(primary=postgres) as primary:
        primary.promote()
        primary.create_database("pair", template=MIGRATED)
        with running_postgres(primary=primary) as standby:
            primary.commit_on("*")
            hosts = f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
            url = f"postgresql://gatepost@{hosts}/pair?target_session_attrs=read-write"
            place = Place(launcher, tmp_path, url)
            assert place.run("migrate").status == 0
            place.settings |= {"LOG_FORMAT": "json", "DATABASE_CONNECTIONS": str(CONNECTIONS)}
            with place.serving() as service, client_of(service) as http:
                assert http.post("/users", json=PERSON).status_code == 201
                client = Client(service, http)
                client.log_in()
                yield Pair(client, primary, standby)


@pytest.mark.slow
def test_a_commit_that_no_standby_confirms_is_reported_as_unknown_and_its_key_settles_it(
    pair: Pair,
) -> None:
    """The primary has the post by itself meanwhile: whoever was told so would be told too much."""
    client = pair.client
    assert client.post().status_code == 201
    pair.standby.freeze()
    try:
        with ThreadPoolExecutor(2 * CONNECTIONS) as threads:
            sent = [threads.submit(client.post) for _ in range(2 * CONNECTIONS)]
            codes = {answer.result().json()["code"] for answer in sent}
        assert "outcome_unknown" in codes
        assert codes <= {"outcome_unknown", "database_busy", "database_unavailable"}
        key = next(key for key, status in client.told.items() if status == 503)
        again = [client.send(key) for _ in range(2)]
        assert {answer.status_code for answer in again} <= {503, 409}
        assert client.get("/users/me").status_code == 200
    finally:
        pair.standby.thaw()
    client.is_back_in_time()
    pair.primary.wait_until_calm("pair", at_most=CONNECTIONS)
    client.settle()
    time.sleep(1.1)
    assert client.works()
    client.service.wait_for_line("the database takes changes again")
    assert client.service.log.read_text().count("the database takes no changes") == 1


@pytest.mark.slow
def test_a_failover_loses_nothing_that_was_acknowledged(pair: Pair) -> None:
    client = pair.client
    over = Event()

    def write() -> None:
        while not over.is_set():
            if client.post().status_code != 201:
                time.sleep(0.02)

    with ThreadPoolExecutor(6) as threads:
        writers = [threads.submit(write) for _ in range(6)]
        try:
            wait_for_posts(client, 100)
            pair.primary.kill()
            time.sleep(0.2)
            assert client.get("/health/ready").status_code == 503
            pair.standby.promote()
            client.is_back_in_time()
            wait_for_posts(client, len(client.told) + 50)
        finally:
            over.set()
        for writer in writers:
            writer.result()

    assert set(client.told.values()) == {201, 503}
    client.settle()


def wait_for_posts(client: Client, number: int) -> None:
    deadline = time.monotonic() + TIME_BUDGET
    while len(client.told) < number:
        assert time.monotonic() < deadline, client.told
        time.sleep(0.01)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """The directory of a file system of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "gatepost", str(disk)]
    mounted = subprocess.run(mount, check=False, capture_output=True, text=True)
    if mounted.returncode != 0:
        missing(f"only who may mount a file system can fill one: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_takes_no_changes_and_serves_what_is_there(
    launcher: Launcher, tmp_path: Path, small_disk: Path
) -> None:
    def fill(_: Service) -> Callable[[], None]:
        filler = small_disk / "filler"
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 1024)
        return filler.unlink

    place = Place(launcher, tmp_path, f"sqlite:///{small_disk / 'gatepost.db'}")
    changes_fail_for_a_while(place, fill)


def test_a_disk_that_fails_takes_no_changes_and_serves_what_is_there(
    launcher: Launcher, tmp_path: Path
) -> None:
    """The operating system refuses to make the file any larger."""
    path = tmp_path / "gatepost.db"

    def limit(service: Service) -> Callable[[], object]:
        pid, kind = service.process.pid, resource.RLIMIT_FSIZE
        old = resource.prlimit(pid, kind)
        resource.prlimit(pid, kind, (Path(f"{path}-wal").stat().st_size, old[1]))
        return lambda: resource.prlimit(pid, kind, old)

    changes_fail_for_a_while(Place(launcher, tmp_path, f"sqlite:///{path}"), limit)


def changes_fail_for_a_while(place: Place, harm: Callable[[Service], Callable[[], object]]) -> None:
    place.settings["LOG_FORMAT"] = "json"
    with place.serving() as service, client_of(service) as http:
        assert http.post("/users", json=PERSON).status_code == 201
        client = Client(service, http)
        client.log_in()
        assert client.works()
        time.sleep(HOLDS)

        heal = harm(service)
        try:
            with ThreadPoolExecutor(8) as threads:
                sent = [threads.submit(client.post) for _ in range(16)]
                answers = [answer.result() for answer in sent]
            answers.append(http.post("/login", data=FORM))
            ready = client.is_red_in_time()
            reads = [client.get(path) for path in ("/users/me", "/posts", "/health/live")]
        finally:
            heal()
        client.is_back_in_time()

        for answer in answers:
            assert answer.status_code == 503, answer.text
            assert answer.json()["code"] == "takes_no_changes"
            assert answer.headers["Retry-After"]
        assert ready.json()["detail"] == "Not ready: database"
        assert [answer.status_code for answer in reads] == [200, 200, 200]
        time.sleep(1.1)
        assert client.works()
        service.wait_for_line("the database takes changes again")
        lines = [json.loads(line) for line in service.log.read_text().splitlines()]
        assert max(line.get("duration_ms", 0) for line in lines) < MAX_SECONDS * 1000
        said = [line["message"] for line in lines if line["level"] != "info"]
        assert len(said) == 2, said
        client.settle()
