"""Limits of a real service: who is counted, where it is counted, and what the settings may say."""

import httpx
import pytest

from tests.journeys.processes import Place, Service
from tests.valkey import ValkeyServer, running_valkey

PASSWORD = "correct horse battery"
EMAIL = "anna@example.com"


@pytest.fixture(autouse=True)
def _limited(place: Place) -> None:
    place.settings["RATE_LIMITS"] = "on"


def register(client: httpx.Client, number: int, forwarded_for: str) -> int:
    answer = client.post(
        "/users",
        json={"email": f"user{number}@example.com", "password": PASSWORD},
        headers={"X-Forwarded-For": forwarded_for},
    )
    return answer.status_code


def log_in(service: Service, forwarded_for: str, password: str = PASSWORD) -> int:
    with service.client() as client:
        answer = client.post(
            "/login",
            data={"username": EMAIL, "password": password},
            headers={"X-Forwarded-For": forwarded_for},
        )
    return answer.status_code


@pytest.mark.parametrize("proxies", ["127.0.0.1", "10.0.0.0/8, 127.0.0.0/8"])
def test_behind_a_trusted_proxy_each_client_has_its_own_address(place: Place, proxies: str) -> None:
    place.settings |= {"TRUSTED_PROXIES": proxies, "LIMIT_REGISTRATIONS": "2/hour"}
    with place.serving() as service, service.client() as client:
        assert register(client, 1, "192.0.2.1") == 201
        assert register(client, 2, "192.0.2.1") == 201
        assert register(client, 3, "192.0.2.1") == 429
        # The last address is the proxy's word, those before it the client's own.
        assert register(client, 3, "203.0.113.9, 192.0.2.1") == 429
        assert register(client, 3, "192.0.2.1, 203.0.113.9") == 201
        assert register(client, 4, "2001:db8::1") == 201
        assert register(client, 5, "2001:db8::2") == 201
        assert register(client, 6, "2001:db8::3") == 429


@pytest.mark.parametrize("proxies", ["", "10.0.0.0/8"])
def test_forwarded_headers_of_an_untrusted_client_are_ignored(place: Place, proxies: str) -> None:
    place.settings |= {"TRUSTED_PROXIES": proxies, "LIMIT_REGISTRATIONS": "2/hour"}
    with place.serving() as service, service.client() as client:
        answers = [register(client, number, f"192.0.2.{number}") for number in range(3)]

    assert answers == [201, 201, 429]


def test_a_known_network_is_still_known_after_a_restart(place: Place) -> None:
    place.settings |= {"TRUSTED_PROXIES": "127.0.0.1", "LIMIT_ACCOUNT_FAILURES": "1/hour"}
    home, elsewhere = "192.0.2.1", "203.0.113.9"
    with place.serving() as service:
        with service.client() as client:
            client.post("/users", json={"email": EMAIL, "password": PASSWORD})
        assert log_in(service, home) == 200

    with place.serving() as service:
        assert log_in(service, elsewhere, "wrong") == 401
        assert log_in(service, elsewhere) == 429
        assert log_in(service, home) == 200


def test_services_share_limits_in_redis_and_work_without_it(place: Place) -> None:
    with running_valkey() as valkey:
        place.settings |= {"REDIS_URL": valkey.url, "LIMIT_REGISTRATIONS": "2/hour"}
        with place.serving() as one, place.serving() as two:
            with one.client() as first, two.client() as second:
                assert register(first, 1, "") == 201
                assert register(second, 2, "") == 201
                assert register(first, 3, "") == 429

                valkey.stop()

                answers = [register(first, number, "") for number in range(4, 7)]
                assert answers == [201, 201, 429]
            one.wait_for_line("warning", "Redis is down")
            assert one.log.read_text().count("Redis is down") == 1


@pytest.fixture
def down_valkey() -> ValkeyServer:
    return ValkeyServer()


def test_a_service_starts_without_its_redis(place: Place, down_valkey: ValkeyServer) -> None:
    place.settings |= {"REDIS_URL": down_valkey.url, "LIMIT_REGISTRATIONS": "1/hour"}
    with place.serving() as service, service.client() as client:
        assert [register(client, 1, ""), register(client, 2, "")] == [201, 429]


def test_bad_limits_are_refused_at_the_start(place: Place) -> None:
    place.settings |= {
        "LIMIT_LOGINS": "often",
        "LIMIT_WRITES": "0/minute",
        "LIMIT_WRITE": "1/minute",
        "RATE_LIMITS": "maybe",
        "REDIS_URL": "http://:secret@localhost",
    }

    assert place.refusals("serve", "--port", "0") == [
        "GATEPOST_LIMIT_WRITE: there is no such setting; do you mean GATEPOST_LIMIT_WRITES?",
        "GATEPOST_RATE_LIMITS: Input should be 'on' or 'off'",
        "GATEPOST_REDIS_URL: must be redis://host:port/number (rediss:// with TLS), or unix:// "
        "and a path",
        "GATEPOST_LIMIT_LOGINS: must be one limit, such as 10/minute or 100 per 2 hours",
        "GATEPOST_LIMIT_WRITES: must allow 1 to 1,000,000,000 in a time of up to 366 days",
    ]
