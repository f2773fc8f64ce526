"""Sessions and keys, as they are seen from outside by those who run several processes."""

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.journeys.conftest import database_of
from tests.journeys.processes import Done, Launcher, Place, Service

PASSWORD = "correct horse battery"


def register(service: Service, email: str = "anna@example.com") -> None:
    with service.client() as client:
        answer = client.post("/users", json={"email": email, "password": PASSWORD})
        assert answer.status_code == 201, answer.text


def log_in(service: Service, email: str = "anna@example.com") -> dict[str, Any]:
    with service.client() as client:
        form = {"username": email, "password": PASSWORD}
        answer = client.post("/login", data=form)
    assert answer.status_code == 200, answer.text
    tokens: dict[str, Any] = answer.json()
    return tokens


def bearer(tokens: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens['access_token']}"}


def ask(service: Service, tokens: dict[str, Any], path: str = "/users/me") -> httpx.Response:
    # A connection of its own for each: it is the kernel that hands them to the workers.
    with service.client() as client:
        return client.get(path, headers=bearer(tokens))


def refused_by_both_workers(service: Service, tokens: dict[str, Any]) -> bool:
    """Whether the very next requests are refused, whichever worker gets them."""
    workers: set[str] = set()
    for _ in range(200):
        answer = ask(service, tokens)
        if answer.status_code != 401:
            return False
        workers.add(answer.headers["X-Request-ID"].split("-")[0])
        if len(workers) == 2:
            return True
    pytest.fail("one worker got all requests")


def known_to_both_workers(
    service: Service, tokens: dict[str, Any], path: str = "/users/me"
) -> None:
    """As often as it takes for both to have verified and remembered the token."""
    workers: set[str] = set()
    for _ in range(200):
        answer = ask(service, tokens, path)
        assert answer.status_code == 200
        workers.add(answer.headers["X-Request-ID"].split("-")[0])
        if len(workers) == 2:
            return
    pytest.fail("one worker got all requests")


@pytest.fixture(scope="module", params=[("sqlite", "jose"), ("postgresql", "opaque")], ids=str)
def two_workers(
    launcher: Launcher, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Service]:
    """A service of two processes: their database is another in each case, and so are tokens."""
    kind, technology = request.param
    directory = tmp_path_factory.mktemp("workers")
    with database_of(kind, directory, request) as url:
        place = Place(launcher, directory, url)
        place.settings |= {"TOKENS": technology, "REFRESH_GRACE": "0"}
        with place.serving("--workers", "2") as service:
            register(service)
            yield service


def test_two_workers_know_each_other_s_tokens_and_cursors(two_workers: Service) -> None:
    tokens = log_in(two_workers)
    with two_workers.client() as client:
        for _ in range(2):
            client.post("/posts", json={"title": "x", "content": "x"}, headers=bearer(tokens))
    first = ask(two_workers, tokens, "/posts?limit=1")

    known_to_both_workers(two_workers, tokens, first.links["next"]["url"])


def test_the_end_of_a_session_acts_on_the_very_next_request_in_every_worker(
    two_workers: Service,
) -> None:
    stays = log_in(two_workers)
    with two_workers.client() as client:

        def logout(tokens: dict[str, Any]) -> httpx.Response:
            return client.post("/logout", headers=bearer(tokens))

        def end_by_id(tokens: dict[str, Any]) -> httpx.Response:
            sessions = client.get("/sessions", headers=bearer(tokens)).json()
            (current,) = [session["id"] for session in sessions if session["current"]]
            return client.delete(f"/sessions/{current}", headers=bearer(stays))

        def use_twice(tokens: dict[str, Any]) -> httpx.Response:
            form = {"refresh_token": tokens["refresh_token"]}
            assert client.post("/refresh", data=form).status_code == 200
            return client.post("/refresh", data=form)

        for end, status in ((logout, 204), (end_by_id, 204), (use_twice, 401)):
            tokens = log_in(two_workers)
            known_to_both_workers(two_workers, tokens)
            assert end(tokens).status_code == status
            assert refused_by_both_workers(two_workers, tokens)

        known_to_both_workers(two_workers, stays)
        assert client.delete("/sessions", headers=bearer(stays)).status_code == 204
        assert refused_by_both_workers(two_workers, stays)


def test_the_end_of_a_personal_token_acts_on_the_very_next_request_in_every_worker(
    two_workers: Service,
) -> None:
    register(two_workers, "root@example.com")
    two_workers.place.run("create-admin", "root@example.com", "--unverified")
    root = log_in(two_workers, "root@example.com")

    with two_workers.client() as client:

        def owner(name: str) -> dict[str, Any]:
            register(two_workers, f"{name}@example.com")
            return log_in(two_workers, f"{name}@example.com")

        def make(login: dict[str, Any], **more: int) -> dict[str, Any]:
            body = {"name": "script", "scopes": ["account:read"], **more}
            answer = client.post("/tokens", json=body, headers=bearer(login))
            assert answer.status_code == 201, answer.text
            token = answer.json()
            return {"access_token": token["token"], "id": token["id"]}

        def user_id(token: dict[str, Any]) -> int:
            return int(ask(two_workers, token).json()["id"])

        carl = owner("carl")
        short = make(carl, expires_in=5)
        assert ask(two_workers, short).status_code == 200

        def delete(token: dict[str, Any], login: dict[str, Any]) -> httpx.Response:
            return client.delete(f"/tokens/{token['id']}", headers=bearer(login))

        def deactivate(token: dict[str, Any], _: dict[str, Any]) -> httpx.Response:
            path, body = f"/users/{user_id(token)}", {"is_active": False}
            return client.patch(path, json=body, headers=bearer(root))

        def close(_: dict[str, Any], login: dict[str, Any]) -> httpx.Response:
            body = {"current_password": PASSWORD}
            return client.post("/users/me/deletion", json=body, headers=bearer(login))

        for name, end in (("dora", delete), ("emil", deactivate), ("fred", close)):
            login = owner(name)
            token = make(login)
            known_to_both_workers(two_workers, token)
            assert end(token, login).is_success
            assert refused_by_both_workers(two_workers, token)

        deadline = time.monotonic() + 30
        while ask(two_workers, short).status_code == 200:  # until it expires
            assert time.monotonic() < deadline
        assert refused_by_both_workers(two_workers, short)
        assert ask(two_workers, carl).status_code == 200


def kid_of(done: Done) -> str:
    assert done.status == 0, done.stderr
    return done.stdout.split()[0]


@pytest.mark.parametrize("algorithm", ["ES256", "HS256"])
def test_keys_are_rotated_without_logging_users_out(place: Place, algorithm: str) -> None:
    place.settings |= {"ALGORITHM": algorithm, "KEYS_FILE": "keys.json"}
    key_a = kid_of(place.run("keys", "new"))
    with place.serving() as service:
        register(service)
        old = log_in(service)

    key_b = kid_of(place.run("keys", "new"))
    listed = [line.split() for line in place.run("keys", "list").stdout.splitlines()]
    assert [(line[0], line[1], line[3]) for line in listed] == [
        (key_a, algorithm, "verifies"),
        (key_b, algorithm, "signs"),
    ]
    with place.serving() as service:
        assert ask(service, old).status_code == 200
        new = log_in(service)
        assert ask(service, new).status_code == 200
        with service.client() as client:
            published = client.get("/.well-known/jwks.json")
        assert published.headers["Content-Type"] == "application/jwk-set+json"
        kids = [key["kid"] for key in published.json()["keys"]]
        assert kids == ([] if algorithm == "HS256" else [key_a, key_b])
        assert not {"d", "p", "q", "k"} & {name for key in published.json()["keys"] for name in key}

    assert kid_of(place.run("keys", "retire", key_a)) == key_a
    with place.serving() as service:
        assert ask(service, old).status_code == 401
        assert ask(service, new).status_code == 200
        with service.client() as client:
            # The session goes on: only what was signed with the old key is dead.
            form = {"refresh_token": old["refresh_token"]}
            assert client.post("/refresh", data=form).status_code == 200


def test_the_key_that_signs_is_not_retired(place: Place) -> None:
    place.settings |= {"ALGORITHM": "ES256", "KEYS_FILE": "keys.json"}
    kid = kid_of(place.run("keys", "new"))

    assert "signs" in place.refusal("keys", "retire", kid)
    for unknown in ("unknown", "-unknown"):  # a name may start with a hyphen
        assert f"there is no key {unknown}" in place.refusal("keys", "retire", unknown)


def test_the_service_does_not_start_without_a_suitable_key(place: Place) -> None:
    place.settings["ALGORITHM"] = "RS256"
    assert "a key for RS256 is missing" in place.refusal("serve")
    assert "KEYS_FILE" in place.refusal("keys", "list")

    place.settings["KEYS_FILE"] = "keys.json"
    assert "No such file" in place.refusal("serve")

    kid_of(place.run("keys", "new"))
    file = place.directory / "keys.json"
    file.chmod(0o644)
    assert "other users can access it" in place.refusal("serve")

    file.chmod(0o600)
    place.settings["ALGORITHM"] = "ES256"
    assert "a key for ES256 is missing" in place.refusal("serve")


def test_an_unknown_technology_is_refused(place: Place) -> None:
    place.settings["TOKENS"] = "paseto"

    assert place.refusal("serve").startswith("GATEPOST_TOKENS: must be one of jose")
