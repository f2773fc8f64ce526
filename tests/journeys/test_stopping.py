"""A service that is told to stop, while clients use it."""

import os
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event

import httpx
import pytest

from tests.journeys.processes import TIME_BUDGET, Place, Service

EMAIL = "anna@example.com"
PASSWORD = "correct horse battery"
DEADLINE = 10.0  # seconds for requests that still run when the service no longer listens

with_one_and_with_two_workers = pytest.mark.parametrize("workers", [1, 2])


@contextmanager
def serving(place: Place, workers: int, *, drain_seconds: int) -> Iterator[Service]:
    place.settings["DRAIN_SECONDS"] = str(drain_seconds)
    with place.serving("--workers", str(workers)) as service:
        serving: set[str] = set()
        deadline = time.monotonic() + TIME_BUDGET
        while len(serving) < workers:
            assert time.monotonic() < deadline
            serving.add(service.worker())
        yield service


def log_in(service: Service) -> dict[str, str]:
    with service.client() as client:
        client.post("/users", json={"email": EMAIL, "password": PASSWORD})
        form = {"username": EMAIL, "password": PASSWORD}
        token = client.post("/login", data=form).json()["access_token"]
    return {"Authorization": f"Bearer {token}"}


def use(service: Service, headers: dict[str, str], red: Event) -> tuple[set[int], int]:
    """Read and write by one connection after the other until nobody listens any more; the statuses
    of all answers, and how many came after the service was not ready.
    """
    statuses, late = set(), 0
    body = {"title": "Hello", "content": "A post."}
    with service.client() as client:
        while True:
            late += red.is_set()
            try:
                statuses.add(client.get("/users/me", headers=headers).status_code)
                statuses.add(client.post("/posts", headers=headers, json=body).status_code)
            except httpx.ConnectError:
                return statuses, late
            time.sleep(0.005)


def watch(service: Service, green: Event, red: Event) -> list[str]:
    """What `/health/ready` says until nobody listens any more, each state once."""
    said: list[str] = []
    with service.client() as client:
        while True:
            try:
                answer = client.get("/health/ready")
            except httpx.ConnectError:
                return said
            state = f"{answer.status_code} {answer.json().get('detail', '')}".strip()
            if state not in said:
                said.append(state)
            if answer.status_code == 503:
                assert answer.headers["Connection"] == "close"
                red.set()
            green.set()
            time.sleep(0.01)


@with_one_and_with_two_workers
def test_no_request_is_lost_when_the_service_stops(place: Place, workers: int) -> None:
    with serving(place, workers, drain_seconds=2) as service, ThreadPoolExecutor(5) as threads:
        headers, green, red = log_in(service), Event(), Event()
        using = [threads.submit(use, service, headers, red) for _ in range(4)]
        watching = threads.submit(watch, service, green, red)
        assert green.wait(TIME_BUDGET)
        service.process.send_signal(signal.SIGTERM)
        told = time.monotonic()

        for each in using:
            statuses, late = each.result(TIME_BUDGET)
            assert statuses == {200, 201}
            assert late > 1
        assert watching.result(TIME_BUDGET) == ["200", "503 Not ready: draining"]
        assert service.process.wait(TIME_BUDGET) == 0
        assert time.monotonic() - told >= 2


def half_a_request(service: Service, headers: dict[str, str]) -> tuple[socket.socket, bytes]:
    """A connection by which a post is on its way, and the rest of it."""
    url = httpx.URL(service.url)
    head = f"POST /posts HTTP/1.1\r\nHost: {url.host}\r\nAuthorization: {headers['Authorization']}"
    body = b'{"title": "Hello", "content": "A slow one."}'
    head += f"\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    connection = socket.create_connection((url.host, url.port or 80), TIME_BUDGET)
    connection.sendall(head.encode() + body[:20])
    return connection, body[20:]


def drip(connection: socket.socket) -> None:
    """Go on slowly with the body until the connection is closed."""
    with suppress(OSError):
        while True:
            connection.sendall(b" ")
            time.sleep(1)


def everything(connection: socket.socket) -> str:
    """What comes until the service closes the connection."""
    with connection:
        return b"".join(iter(lambda: connection.recv(4096), b"")).decode()


def test_a_slow_request_is_finished_and_a_hung_one_is_cut_at_the_deadline(place: Place) -> None:
    with serving(place, 1, drain_seconds=300) as service, ThreadPoolExecutor(1) as threads:
        headers = log_in(service)
        hung, _ = half_a_request(service, headers)
        slow, rest = half_a_request(service, headers)
        threads.submit(drip, hung)
        time.sleep(0.1)
        service.process.send_signal(signal.SIGINT)
        told = time.monotonic()
        wait_until_nobody_listens(service)
        slow.sendall(rest)

        answer = everything(slow).lower()
        assert answer.startswith("http/1.1 201 ")
        assert "connection: close" in answer

        answer = everything(hung)
        assert answer.startswith("HTTP/1.1 503 ")
        assert '"code":"stopped"' in answer
        assert service.process.wait(TIME_BUDGET) == 0
        assert time.monotonic() - told >= DEADLINE


def wait_until_nobody_listens(service: Service) -> None:
    deadline = time.monotonic() + TIME_BUDGET
    with service.client() as client:
        while time.monotonic() < deadline:
            try:
                client.get("/health/live")
            except httpx.ConnectError:
                return
            time.sleep(0.01)
    pytest.fail("somebody still listens")


def processes(service: Service) -> Sequence[int]:
    """The service's own and its workers', whom a Ctrl-C and systemd tell to stop as well."""
    own = service.process.pid
    return [own, *map(int, Path(f"/proc/{own}/task/{own}/children").read_text().split())]


def tell(service: Service, number: int) -> None:
    for process in processes(service):
        os.kill(process, number)


def test_ctrl_c_does_not_wait(place: Place) -> None:
    with serving(place, 2, drain_seconds=300) as service:
        tell(service, signal.SIGINT)

        assert service.process.wait(TIME_BUDGET) == 0
        wait_until_nobody_listens(service)


def test_workers_do_not_outlive_their_supervisor(place: Place) -> None:
    with serving(place, 2, drain_seconds=300) as service:
        service.process.kill()

        wait_until_nobody_listens(service)


@with_one_and_with_two_workers
def test_a_second_signal_stops_at_once_and_one_signal_to_the_process_group_counts_once(
    place: Place, workers: int
) -> None:
    with serving(place, workers, drain_seconds=300) as service:
        tell(service, signal.SIGTERM)
        time.sleep(1)  # for the supervisor to tell its workers again
        with service.client() as client:
            assert client.get("/health/ready").status_code == 503
        service.process.send_signal(signal.SIGTERM)

        assert service.process.wait(TIME_BUDGET) == 1
        wait_until_nobody_listens(service)


def test_a_hangup_drains_a_single_process_as_sigterm_does(place: Place) -> None:
    with serving(place, 1, drain_seconds=1) as service, service.client() as client:
        service.process.send_signal(signal.SIGHUP)
        answer = client.get("/health/ready")
        while answer.status_code == 200:  # the signal is on its way
            answer = client.get("/health/ready")

        assert answer.json()["detail"] == "Not ready: draining"
        assert answer.headers["Connection"] == "close"
        assert client.get("/health/live").status_code == 200
        assert service.process.wait(TIME_BUDGET) == 0


def test_a_hangup_replaces_the_workers_and_loses_no_request(place: Place) -> None:
    with serving(place, 2, drain_seconds=1) as service:
        before: set[str] = set()
        after: set[str] = set()
        while len(before) < 2:
            before.add(service.worker())
        service.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 2 * TIME_BUDGET
        while len(after) < 2:
            assert time.monotonic() < deadline
            after |= {service.worker()} - before
            time.sleep(0.03)
