"""Every refusal that Starlette, FastAPI, uvicorn or the parser can cause, as it is on the wire."""

import json
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.journeys.processes import TIME_BUDGET, Launcher, Place, Service

HOST = b"Host: gatepost\r\n"
FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"
JSON = b"Content-Type: application/json\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
PREFLIGHT = b"OPTIONS /posts HTTP/1.1\r\n" + HOST


def request(line: bytes, fields: bytes = b"", body: bytes | None = None) -> bytes:
    length = b"" if body is None else b"Content-Length: %d\r\n" % len(body)
    return line + b" HTTP/1.1\r\n" + HOST + fields + length + b"\r\n" + (body or b"")


def multipart(*parts: bytes) -> bytes:
    body = b"".join(b"--x\r\n" + part + b"\r\n" for part in parts) + b"--x--\r\n"
    return request(b"POST /login", b"Content-Type: multipart/form-data; boundary=x\r\n", body)


# What is sent, and the status, the code and whether the connection goes on behind the answer.
REFUSALS: dict[str, tuple[bytes, int, str, bool]] = {
    "unknown path": (request(b"GET /nowhere"), 404, "not_found", True),
    "unknown path, HEAD": (request(b"HEAD /nowhere"), 404, "not_found", True),
    "path of bytes": (request(b"GET /%ff%fe"), 404, "not_found", True),
    "doubled slash": (request(b"GET //health/live"), 404, "not_found", True),
    "asterisk": (request(b"OPTIONS *"), 404, "not_found", True),
    "method": (request(b"DELETE /login"), 405, "method_not_allowed", True),
    "method, HEAD": (request(b"HEAD /login"), 405, "method_not_allowed", True),
    "method that no route has": (request(b"PURGE /posts"), 405, "method_not_allowed", True),
    "credentials": (request(b"GET /posts"), 401, "not_authenticated", True),
    "credentials, HEAD": (request(b"HEAD /posts"), 401, "not_authenticated", True),
    "web socket": (
        request(
            b"GET /posts",
            b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        ),
        401,
        "not_authenticated",
        True,
    ),
    "no body": (request(b"POST /login", body=b""), 422, "validation_failed", True),
    "form without fields": (request(b"POST /login", FORM, b"a=b"), 422, "validation_failed", True),
    "multipart without boundary": (
        request(b"POST /login", b"Content-Type: multipart/form-data\r\n", b"abc"),
        422,
        "validation_failed",
        True,
    ),
    "multipart that is none": (
        request(b"POST /login", b"Content-Type: multipart/form-data; boundary=x\r\n", b"abc"),
        422,
        "validation_failed",
        True,
    ),
    "multipart part without a name": (
        multipart(b"Content-Disposition: form-data\r\n\r\na"),
        422,
        "validation_failed",
        True,
    ),
    "broken JSON": (request(b"POST /users", JSON, b"{"), 422, "validation_failed", True),
    "JSON in UTF-16": (
        request(b"POST /users", JSON, b"\xff\xfe{\0"),
        422,
        "validation_failed",
        True,
    ),
    "deep JSON": (request(b"POST /users", JSON, b"[" * 10_000), 422, "validation_failed", True),
    "type": (
        request(b"POST /users", b"Content-Type: text/plain\r\n", b"{}"),
        415,
        "unsupported_media_type",
        True,
    ),
    "type of bytes": (
        request(b"POST /users", b"Content-Type: \xff/\xfe\r\n", b"{}"),
        415,
        "unsupported_media_type",
        True,
    ),
    "coding": (
        request(b"POST /users", JSON + b"Content-Encoding: gzip\r\n", b"\x1f\x8b"),
        415,
        "unsupported_media_type",
        True,
    ),
    "large body": (request(b"POST /login", FORM, b"a" * 20_000), 413, "content_too_large", True),
    "large body in chunks": (
        request(b"POST /login", FORM + CHUNKED) + b"4e20\r\n%s\r\n0\r\n\r\n" % (b"a" * 20_000),
        413,
        "content_too_large",
        True,
    ),
    "preflight, origin": (
        PREFLIGHT + b"Origin: https://b.example\r\nAccess-Control-Request-Method: GET\r\n\r\n",
        400,
        "cors_refused",
        True,
    ),
    "preflight, header": (
        PREFLIGHT + b"Origin: https://a.example\r\nAccess-Control-Request-Method: PUT\r\n"
        b"Access-Control-Request-Headers: x-other\r\n\r\n",
        400,
        "cors_refused",
        True,
    ),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400, "bad_request", False),
    "two hosts": (request(b"GET /", HOST), 400, "bad_request", False),
    "many fields": (request(b"GET /", b"A: 1\r\n" * 101), 431, "head_too_large", False),
    "long field": (request(b"GET /", b"A: %s\r\n" % (b"a" * 33_000)), 431, "head_too_large", False),
    "endless field": (b"GET / HTTP/1.1\r\nA: " + b"a" * 200_000, 431, "head_too_large", False),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00", 400, "bad_request", False),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "bad_request", False),
    "HTTP/3.0": (b"GET / HTTP/3.0\r\n" + HOST + b"\r\n", 400, "bad_request", False),
    "method that is none": (request(b"BREW /posts"), 400, "bad_request", False),
    "tunnel": (request(b"CONNECT gatepost:443"), 400, "bad_request", False),
    "address without path": (request(b"GET http://gatepost"), 400, "bad_request", False),
    "space in the target": (request(b"GET /a b"), 400, "bad_request", False),
    "UTF-8 in the target": (request("GET /é".encode()), 400, "bad_request", False),
    "control character": (request(b"GET /", b"A: a\x01b\r\n"), 400, "bad_request", False),
    "folded field": (request(b"GET /", b"A: a\r\n b\r\n"), 400, "bad_request", False),
    "negative length": (
        request(b"POST /login", b"Content-Length: -1\r\n"),
        400,
        "bad_request",
        False,
    ),
    "two lengths": (
        request(b"POST /login", b"Content-Length: 1\r\n", b"ab"),
        400,
        "bad_request",
        False,
    ),
    "length beyond 64 bits": (
        request(b"POST /login", b"Content-Length: 99999999999999999999\r\n"),
        400,
        "bad_request",
        False,
    ),
    "length and chunks": (
        request(b"POST /login", CHUNKED, b"0\r\n\r\n"),
        400,
        "bad_request",
        False,
    ),
    "another transfer coding": (
        request(b"POST /login", b"Transfer-Encoding: gzip\r\n"),
        400,
        "bad_request",
        False,
    ),
    "broken chunk": (
        request(b"POST /login", FORM + CHUNKED) + b"zz\r\n",
        400,
        "bad_request",
        False,
    ),
}


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    goes_on: bool
    """Whether a second request on the same connection is answered."""


def ask(service: Service, sent: bytes) -> Answer:
    url = urlsplit(service.url)
    with socket.create_connection((url.hostname, url.port), TIME_BUDGET) as connection:
        connection.sendall(sent)
        received = b""
        while b"\r\n\r\n" not in received:
            received += _some(connection)
        head, _, body = received.partition(b"\r\n\r\n")
        status_line, *fields = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, value in (each.split(": ", 1) for each in fields)}
        assert len(headers) == len(fields), head
        length = 0 if sent.startswith(b"HEAD") else int(headers["content-length"])
        while len(body) < length:
            body += _some(connection)
        if headers.get("connection") == "close":
            assert connection.recv(1) == b""
            goes_on = False
        else:
            connection.sendall(request(b"GET /health/live"))
            following = _some(connection)
            goes_on = following.startswith(b"HTTP/1.1 200 ")
            assert goes_on, following
        return Answer(int(status_line.split()[1]), headers, body[: length or None], goes_on)


def _some(connection: socket.socket) -> bytes:
    some = connection.recv(65536)
    assert some, "the connection ended before the answer did"
    return some


@pytest.fixture(scope="module")
def service(launcher: Launcher, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("refusals")
    place = Place(launcher, directory, f"sqlite:///{directory / 'gatepost.db'}")
    place.settings |= {"CORS_ORIGINS": "https://a.example", "LOG_FORMAT": "json"}
    with place.serving() as service:
        yield service


def lines_of(log: Path, request_id: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [line for line in lines if line.get("request_id") == request_id]


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_is_a_whole_problem_and_one_line_in_the_log(service: Service, name: str) -> None:
    sent, status, code, goes_on = REFUSALS[name]

    answer = ask(service, sent)

    assert (answer.status, answer.goes_on) == (status, goes_on)
    assert answer.headers["content-type"] == "application/problem+json"
    if not sent.startswith(b"HEAD"):
        problem = json.loads(answer.body)
        assert (problem["status"], problem["code"]) == (status, code)
        assert problem["request_id"] == answer.headers["x-request-id"]
    request_id = answer.headers["x-request-id"]
    service.wait_for_line(f'"request_id": "{request_id}"')
    (line,) = lines_of(service.log, request_id)
    assert (line["status"], line["error"]) == (status, code)


def test_no_refusal_leaves_a_traceback_or_a_line_of_another_library(service: Service) -> None:
    for sent, *_ in REFUSALS.values():
        ask(service, sent)
    answer = ask(service, request(b"GET /the-last-one"))
    service.wait_for_line(answer.headers["x-request-id"])

    lines = [json.loads(line) for line in service.log.read_text().splitlines()]

    assert [line for line in lines if "exception" in line] == []
    others = {line["message"] for line in lines if not re.match("[A-Z]+ [/*]", line["message"])}
    assert others == {"refused"}


def test_a_refusal_has_the_header_that_its_status_requires(service: Service) -> None:
    assert ask(service, REFUSALS["coding"][0]).headers["accept-encoding"] == "identity"
    assert ask(service, REFUSALS["method"][0]).headers["allow"] == "POST"
    assert ask(service, REFUSALS["credentials"][0]).headers["www-authenticate"].startswith("Bearer")
    assert ask(service, REFUSALS["preflight, origin"][0]).headers["vary"] == "Origin"


def test_a_client_that_disconnects_within_a_body_is_logged_with_status_0(service: Service) -> None:
    url = urlsplit(service.url)
    with socket.create_connection((url.hostname, url.port), TIME_BUDGET) as connection:
        fields = JSON + b"X-Request-ID: the-one-who-left\r\nContent-Length: 100\r\n"
        connection.sendall(request(b"POST /users", fields) + b"{")

    line = json.loads(service.wait_for_line('"the-one-who-left"'))
    assert (line["message"], line["status"]) == ("POST /users", 0)
    assert "error" not in line
