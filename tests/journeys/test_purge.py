"""A purge by the real command, beside a service that runs."""

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing

import pytest

from infrastructure.database.driver.addresses import sqlite_path
from infrastructure.database.driver.engine import TIME_LIMIT
from tests.journeys.processes import Place

EMAIL = "anna@example.com"
PASSWORD = "correct horse battery"


def test_a_purge_keeps_live_sessions_and_can_be_repeated(place: Place) -> None:
    place.run("migrate")
    with place.serving() as service, service.client() as client:
        client.post("/users", json={"email": EMAIL, "password": PASSWORD})
        answer = client.post("/login", data={"username": EMAIL, "password": PASSWORD})
        own = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        key = own | {"Idempotency-Key": "once"}
        post = {"title": "Hello", "content": "First post."}
        first = client.post("/posts", json=post, headers=key)

        for _ in range(2):
            done = place.run("purge")
            assert (done.status, done.stderr) == (0, "")
            assert [line.split(maxsplit=1) for line in done.stdout.splitlines()] == [
                ["0", "sessions"],
                ["0", "spent refresh tokens"],
                ["0", "personal tokens"],
                ["0", "codes"],
                ["0", "passkey challenges"],
                ["0", "login challenges"],
                ["0", "idempotency keys"],
                ["0", "events"],
                ["0", "ended identities"],
                ["0", "failed jobs"],
                ["0", "deliveries"],
                ["0", "accounts"],
            ]

        assert client.get("/users/me", headers=own).status_code == 200
        again = client.post("/posts", json=post, headers=key)
        assert again.headers["Idempotency-Replayed"] == "true"
        assert again.json() == first.json()


def test_scripts_get_the_figures_as_json(place: Place) -> None:
    place.run("migrate")

    done = place.run("purge", "--json")

    assert (done.status, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {
        "sessions": 0,
        "spent_refresh_tokens": 0,
        "personal_tokens": 0,
        "codes": 0,
        "passkey_challenges": 0,
        "login_challenges": 0,
        "idempotency_keys": 0,
        "events": 0,
        "ended_identities": 0,
        "failed_jobs": 0,
        "deliveries": 0,
        "accounts": 0,
    }


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_a_purge_waits_longer_for_a_lock_than_a_request_does(place: Place) -> None:
    place.run("migrate")
    path = sqlite_path(place.database_url)
    assert path
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(1) as thread:
            purging = thread.submit(place.run, "purge")
            done, _ = wait([purging], timeout=2 * TIME_LIMIT + 1)
            other.execute("ROLLBACK")

    assert not done
    assert purging.result().stderr == ""


def test_a_database_that_was_never_migrated_is_one_clear_line(place: Place) -> None:
    assert "`gatepost migrate`" in place.refusal("purge")
