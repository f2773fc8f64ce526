"""Metrics of several workers: whichever one is asked, it answers for all."""

import os
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest

from tests.journeys.processes import TIME_BUDGET, Place, Service
from tests.prometheus import Scrape

LIVE = {"method": "GET", "route": "/health/live", "status": "200"}
SECRET = "tZ4vQ9kX2mLw7RbN5sHj8DfG3yUc6EaP"


def worker_of(answer: httpx.Response) -> str:
    return answer.headers["X-Request-ID"].split("-")[0]


def ask(service: Service, path: str) -> httpx.Response:
    # A connection of its own for each: it is the kernel that hands them to the workers.
    with service.client() as client:
        return client.get(path)


def ask_both(service: Service) -> Counter[str]:
    """Ask until two workers have answered; how often each did."""
    answered: Counter[str] = Counter()
    deadline = time.monotonic() + TIME_BUDGET
    while len(answered) < 2:
        assert time.monotonic() < deadline, answered
        answered[worker_of(ask(service, "/health/live"))] += 1
    return answered


def scrape_both(service: Service) -> list[Scrape]:
    """A scrape by each worker."""
    scrapes: dict[str, Scrape] = {}
    deadline = time.monotonic() + TIME_BUDGET
    while len(scrapes) < 2:
        assert time.monotonic() < deadline, scrapes
        answer = ask(service, "/metrics")
        scrapes[worker_of(answer)] = Scrape(answer)
    return list(scrapes.values())


def worker_pids(service: Service) -> set[int]:
    pid = service.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {
        int(child)
        for child in children
        if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text()
    }


def wait_until_gone(pid: int) -> None:
    """Until its parent, which looks every half second, has taken note."""
    deadline = time.monotonic() + TIME_BUDGET
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_workers_are_counted_together_also_those_that_were_killed(place: Place) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        place.variables["TMPDIR"] = scratch
        with place.serving("--workers", "2") as service:
            answered = ask_both(service)
            for seen in scrape_both(service):
                assert seen("gatepost_http_requests_total", **LIVE) == answered.total()
                assert seen("gatepost_database_connections_max") == 32
                assert seen("gatepost_jobs_waiting") == 0
                assert seen("gatepost_job_failures_total", kind="mail") == 0

            killed = worker_pids(service).pop()
            os.kill(killed, signal.SIGKILL)
            wait_until_gone(killed)
            answered += ask_both(service)

            for seen in scrape_both(service):
                assert seen("gatepost_http_requests_total", **LIVE) == answered.total()
                assert seen("gatepost_database_connections_max") == 32
        assert list(Path(scratch).iterdir()) == []


def test_in_production_there_are_no_metrics_unless_they_are_asked_for(place: Place) -> None:
    place.settings |= {"ENVIRONMENT": "production", "SECRET_KEY": SECRET, "DRAIN_SECONDS": "0"}
    with place.serving() as service:
        assert ask(service, "/metrics").status_code == 404

    place.settings["METRICS"] = "on"
    with place.serving() as service:
        assert ask(service, "/metrics").status_code == 200


def test_a_token_for_the_metrics_that_could_be_guessed_is_refused(place: Place) -> None:
    place.settings["METRICS_TOKEN"] = "short"
    refusal = place.refusal("serve")
    assert refusal.startswith("GATEPOST_METRICS_TOKEN: must be a bearer token")
    assert "short" not in refusal


def test_every_spelling_of_the_path_of_the_metrics_asks_for_the_token(place: Place) -> None:
    token = "9Jr0vL2qWm7XcT4y"
    place.settings["METRICS_TOKEN"] = token
    with place.serving() as service, service.client() as client:
        for path in ("/metrics", "/metrics/", "/%6detrics", "/%6d%65trics/"):
            assert client.get(path).status_code == 401
            answer = client.get(path, headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == 200
            assert "gatepost_http_requests_total" in answer.text
