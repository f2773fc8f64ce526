"""Requests that a proxy may read differently: framing, and spellings of protected paths."""

import socket
from urllib.parse import urlsplit

import pytest

from tests.journeys.processes import TIME_BUDGET, Service

LOGIN = b"POST /login HTTP/1.1\r\nHost: gatepost\r\n"
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: gatepost\r\nConnection: close\r\n\r\n"
"""A request inside of a body. Its answer, 404, ends the connection."""

LENGTH = b"Content-Length: %d\r\n" % len(HIDDEN)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
LAST_CHUNK = b"0\r\n\r\n"

# A head and what follows it. Some peers take the hidden request for the next one.
SMUGGLING = {
    "length, then chunks": (LENGTH + CHUNKED, LAST_CHUNK + HIDDEN),
    "chunks, then length": (CHUNKED + LENGTH, LAST_CHUNK + HIDDEN),
    "two lengths": (b"Content-Length: 0\r\n" + LENGTH, HIDDEN),
    "a list of lengths": (b"Content-Length: 0, %d\r\n" % len(HIDDEN), HIDDEN),
    "a length with a sign": (b"Content-Length: +0\r\n", HIDDEN),
    "a space before the colon": (b"Transfer-Encoding : chunked\r\n" + LENGTH, LAST_CHUNK + HIDDEN),
    "a coding behind chunked": (b"Transfer-Encoding: chunked, x\r\n", LAST_CHUNK + HIDDEN),
    "a coding that is almost chunked": (b"Transfer-Encoding: xchunked\r\n", LAST_CHUNK + HIDDEN),
    "a control character before the coding": (
        b"Transfer-Encoding: \x0bchunked\r\n" + LENGTH,
        LAST_CHUNK + HIDDEN,
    ),
    "a folded coding": (b"Transfer-Encoding:\r\n chunked\r\n" + LENGTH, LAST_CHUNK + HIDDEN),
    "a chunk size with a prefix": (CHUNKED, b"0x0\r\n\r\n" + HIDDEN),
    "a chunk size beyond 64 bits": (CHUNKED, b"10000000000000000\r\n" + HIDDEN),
    "a chunk size that ends in a bare LF": (CHUNKED, b"0\n\n" + HIDDEN),
}

# Each means /users/me to some peer, and must not be answered to nobody.
SPELLINGS = [
    "/users/me",
    "/users/me/",
    "/users/me//",
    "//users/me",
    "/users//me",
    "/./users/me",
    "/users/./me",
    "/users/me/.",
    "/x/../users/me",
    "/health/../users/me",
    "/health/live/../../users/me",
    "/health/live/..%2f..%2fusers/me",
    "/%2e/users/me",
    "/health/%2e%2e/users/me",
    "/%75sers/me",
    "/users/%6de",
    "/users%2fme",
    "/users%2Fme",
    "/users%5cme",
    "/users\\me",
    "/%2fusers/me",
    "/USERS/me",
    "/users/ME",
    "/users/me;x=1",
    "/users;x=1/me",
    "/users/me%00",
    "/users/me%20",
    "/users/me%0a",
    "/users/me%3fx",
    "/users/me?x=/health/live",
    "/users/me#/health/live",
    "/users/me.json",
    "/docs/../users/me",
    "/docs/%2e%2e/users/me",
    "/%2575sers/me",
    "http://gatepost/users/me",
]


def statuses(service: Service, sent: bytes) -> list[int]:
    """The status of each answer to `sent`, until the service closes the connection."""
    url = urlsplit(service.url)
    received = b""
    with socket.create_connection((url.hostname, url.port), TIME_BUDGET) as connection:
        connection.sendall(sent)
        while some := connection.recv(65536):
            received += some
    return [int(line[:3]) for line in received.split(b"HTTP/1.1 ")[1:]]


@pytest.mark.parametrize("name", SMUGGLING)
def test_an_ambiguous_body_hides_no_request(service: Service, name: str) -> None:
    fields, rest = SMUGGLING[name]

    assert statuses(service, LOGIN + fields + b"\r\n" + rest) == [400]


def test_a_hidden_request_would_be_seen(service: Service) -> None:
    sent = LOGIN + b"Content-Length: 0\r\n\r\n" + HIDDEN

    assert statuses(service, sent) == [422, 404]


@pytest.mark.parametrize("path", SPELLINGS)
def test_no_spelling_of_a_protected_path_opens_it(service: Service, path: str) -> None:
    sent = f"GET {path} HTTP/1.1\r\nHost: gatepost\r\nConnection: close\r\n\r\n".encode()

    (status,) = statuses(service, sent)

    assert status in (400, 401, 404)
