"""Demo data from the real command, looked at through the API."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import time

import httpx
import pytest

from tests.journeys.processes import COMMAND, TIME_BUDGET, Place


def log_in(client: httpx.Client, email: str, password: str) -> dict[str, str]:
    answer = client.post("/login", data={"username": email, "password": password})
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_demo_users_log_in_and_demo_posts_are_found(place: Place) -> None:
    place.run("migrate")

    done = place.run("seed", "--users", "10", "--posts", "60", "--json")

    assert (done.status, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert (told["users"], told["posts"]) == (10, 60)
    with place.serving() as service, service.client() as client:
        for role, email in told["emails"].items():
            own = log_in(client, email, told["password"])
            assert client.get("/users/me", headers=own).json()["role"] == role
        admin = log_in(client, told["emails"]["admin"], told["password"])
        posts = client.get("/posts", params={"limit": 100}, headers=admin).json()
        assert len(posts) == 60
        assert sum(post["votes"] for post in posts) == told["votes"]
        assert [post["created_at"] for post in posts] == sorted(
            (post["created_at"] for post in posts), reverse=True
        )
        phrase = " ".join(posts[7]["content"].split()[:3])
        found = client.get("/posts", params={"q": f'"{phrase}"'}, headers=admin).json()
        assert posts[7]["id"] in [post["id"] for post in found]


def test_without_a_terminal_a_summary_is_printed_and_no_bar(place: Place) -> None:
    place.run("migrate")

    done = place.run("seed", "--posts", "2000")

    assert (done.status, done.stderr) == (0, "")
    first, second, *emails = done.stdout.splitlines()
    assert first.startswith("Added 100 users, 2,000 posts, ")
    assert second.startswith("All of these users have the password ")
    assert [line.split()[0] for line in emails] == ["admin", "moderator", "member"]


def test_production_gets_no_demo_data(place: Place) -> None:
    place.run("migrate")
    secret = "vX3kQ8mZ5rT1wN7yB4sL9dH2jF6gC0pU"
    place.settings |= {"ENVIRONMENT": "production", "SECRET_KEY": secret}

    assert place.refusal("seed") == "there is no demo data in production (GATEPOST_ENVIRONMENT)"


def test_a_database_that_was_never_migrated_is_one_clear_line(place: Place) -> None:
    assert "`gatepost migrate`" in place.refusal("seed")


def test_too_few_users_are_a_usage_error(place: Place) -> None:
    assert place.run("seed", "--users", "2").status == 2


def test_on_a_terminal_a_bar_is_drawn_and_ctrl_c_reports_what_was_stored(place: Place) -> None:
    place.run("migrate")
    terminal, inner = pty.openpty()
    # Background jobs of a shell ignore Ctrl-C, and so would the command that inherits it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [*COMMAND, "seed", "--users", "3", "--posts", "100000"],
        stdin=inner,
        stdout=inner,
        stderr=inner,
        cwd=place.directory,
        env=place.environment() | {"TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(inner)
    seen = _read(terminal, until=r"[1-9]\d*/100000")
    process.send_signal(signal.SIGINT)
    seen += _read(terminal, until=r"member +\S+@example.com")

    assert process.wait(TIME_BUDGET) in (1, 130)
    os.close(terminal)
    assert "Posts" in seen
    assert "Traceback" not in seen
    assert "Added 3 users, " in seen


def _read(terminal: int, *, until: str) -> str:
    seen = ""
    deadline = time.monotonic() + TIME_BUDGET
    while not re.search(until, seen) and time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.1)[0]:
            seen += os.read(terminal, 65536).decode(errors="replace")
    assert re.search(until, seen), seen
    return seen
