"""Behaviour that all requests and responses share."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from api.app import create_app
from api.middleware import BODY_MAX, BODY_MAX_BELOW
from application.ports.limits import Limit
from domain.users import Role
from tests.api.client import (
    URL,
    ApiClient,
    client_of,
    on_one_database,
    problem_of,
)
from tests.api.conftest import CORS_ORIGIN
from tests.api.expected import Expected, expected_routes, path_of
from tests.api.test_routes import census
from tests.fakes.limits import FakeLimits

pytestmark = on_one_database

UNDOCUMENTED = (
    "/metrics",
    "/openapi.json",
    "/docs",
    "/docs/docs.js",
    "/docs/favicon.png",
    "/docs/swagger-ui-bundle.js",
    "/docs/swagger-ui.css",
)
ROUTES = (
    *expected_routes(),
    *(Expected(operation="", route=f"GET {path}") for path in UNDOCUMENTED),
)
METHODS: dict[str, set[str]] = {}
for _row in ROUTES:
    METHODS.setdefault(_row.path, set()).update(
        {"GET", "HEAD"} if _row.method == "GET" else {_row.method}
    )
READABLE = [
    path
    for path, methods in METHODS.items()
    if "GET" in methods and path != "/metrics"  # which changes with every request
]


def test_the_table_lists_exactly_the_existing_routes(api: ApiClient) -> None:
    methods: dict[str, set[str]] = {}
    for _, path, found in census(api.app.routes):
        if not path.startswith("/console"):  # test_console.py
            methods.setdefault(path, set()).update(found)

    assert methods.keys() == METHODS.keys()
    for path, found in methods.items():
        assert found | {"HEAD"} == METHODS[path] | {"HEAD"}


@pytest.mark.parametrize(
    # GET: test_head_equals_get_without_the_body.
    "row",
    [row for row in ROUTES if row.path not in READABLE or row.method != "GET"],
    ids=lambda row: row.route,
)
async def test_every_path_works_with_and_without_a_trailing_slash(
    api: ApiClient, row: Expected
) -> None:
    await api.person(role=Role.ADMIN)
    statuses = []
    for slash in ("", "/"):
        anna = await api.person(role=Role.ADMIN)
        target = await path_of(row.path, api, anna) + slash
        options = await row.request_of(api, anna)
        answer = await api.client.request(
            row.method, target, headers=anna.headers | dict(row.headers), **options
        )
        statuses.append(answer.status_code)

    assert statuses[0] == statuses[1]
    assert statuses[0] in (200, 201, 202, 204)


@pytest.mark.parametrize("path", READABLE)
async def test_head_equals_get_without_the_body(api: ApiClient, path: str) -> None:
    anna = await api.person(role=Role.ADMIN)
    concrete = await path_of(path, api, anna)
    headers = anna.headers | {"X-Request-ID": "same"}

    for slash in ("", "/"):
        target = concrete + slash
        get = await api.client.get(target, headers=headers)
        head = await api.client.head(target, headers=headers)
        assert get.status_code == head.status_code == 200
        assert head.headers == get.headers
        assert get.content
        assert head.content == b""


@pytest.mark.parametrize("path", ["/health/live", "/docs/", "/nothing", "/users/me"])
async def test_no_part_of_a_body_is_sent_to_head(api: ApiClient, path: str) -> None:
    # Asked without httpx, which would not let such a body through.
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "HEAD",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"gatepost")],
        "server": ("gatepost", 80),
        "client": ("192.0.2.1", 4711),
    }
    await api.app(scope, receive, send)

    start, *rest = sent
    assert start["type"] == "http.response.start"
    assert int(dict(start["headers"])[b"content-length"]) > 0
    assert [message["body"] for message in rest] == [b""] * len(rest)


@pytest.mark.parametrize("path", READABLE)
async def test_head_needs_a_token_where_get_does(api: ApiClient, path: str) -> None:
    target = re.sub(r"{\w+}", "1", path)

    get, head = await api.client.get(target), await api.client.head(target)

    assert head.status_code == get.status_code
    assert head.content == b""


@pytest.mark.parametrize("path", METHODS)
async def test_a_405_names_the_allowed_methods(api: ApiClient, path: str) -> None:
    anna = await api.person()
    target = re.sub(r"{\w+}", "1", path)
    allowed = set(METHODS[path])
    others = {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"} - allowed

    for method in sorted(others):
        for slash in ("", "/"):
            answer = await api.client.request(method, target + slash, headers=anna.headers)
            problem_of(answer, 405, "method_not_allowed")
            assert set(answer.headers["Allow"].split(", ")) == allowed


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/posts/1/nothing",
        "/posts//",
        "/Posts",
        "/users/me/nothing",
        "/redoc",
        "/%2e%2e/posts",
        "/posts%2f1/x",
        "/%00",
        "/%ff%fe",
        "/" + "x" * 5000,
    ],
)
async def test_an_unknown_path_is_404_for_everybody(api: ApiClient, path: str) -> None:
    anna = await api.person()

    for method in ("GET", "POST", "DELETE", "OPTIONS"):
        for headers in ({}, anna.headers, {"Authorization": "Bearer x"}):
            answer = await api.client.request(method, path, headers=headers)
            problem_of(answer, 404, "not_found")


async def test_every_response_has_its_own_request_id(api: ApiClient) -> None:
    answers = [await api.client.get(path) for path in ("/health/live", "/x", "/posts", "/docs")]

    ids = [answer.headers["X-Request-ID"] for answer in answers]
    assert len(set(ids)) == 4
    assert all(1 <= len(id_) <= 128 and id_.isascii() for id_ in ids)


@pytest.mark.parametrize("sent", ["a", "A-Z_0.9", "x" * 128, "5f0c6e1d8a9b4c7e"])
async def test_a_valid_request_id_is_kept(api: ApiClient, sent: str) -> None:
    for path in ("/health/live", "/x", "/posts"):
        answer = await api.client.get(path, headers={"X-Request-ID": sent})
        assert answer.headers.get_list("X-Request-ID") == [sent]


@pytest.mark.parametrize("sent", ["", "x" * 129, "a b", "a/b", "é", 'a"b', "a,b", "<a>", "a\tb"])
async def test_an_invalid_request_id_is_replaced(api: ApiClient, sent: str) -> None:
    headers = [(b"X-Request-ID", sent.encode("latin-1"))]

    answer = await api.client.get("/x", headers=headers)

    (kept,) = answer.headers.get_list("X-Request-ID")
    assert kept != sent
    assert not sent or sent not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/users/me", 200),
        ("GET", "/posts", 200),
        ("GET", "/posts/4711", 404),
        ("GET", "/posts/x", 422),
        ("POST", "/posts", 422),
    ],
)
async def test_authenticated_responses_are_private_and_vary_by_authorization(
    api: ApiClient, method: str, path: str, status: int
) -> None:
    anna = await api.person()

    answer = await api.client.request(method, path, headers=anna.headers)

    assert answer.status_code == status
    assert answer.headers.get_list("Cache-Control") == ["private, no-cache"]
    assert "Authorization" in answer.headers["Vary"].split(", ")


async def test_unauthenticated_responses_are_not_private(api: ApiClient) -> None:
    for path in ("/health/live", "/openapi.json", "/users/me"):
        assert "private" not in (await api.client.get(path)).headers.get("Cache-Control", "")


async def test_every_response_forbids_sniffing(api: ApiClient) -> None:
    for path in ("/health/live", "/x", "/posts", "/docs", "/docs/docs.js"):
        answer = await api.client.get(path)
        assert answer.headers.get_list("X-Content-Type-Options") == ["nosniff"]


async def chunks(content: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(content), 65_536):
        yield content[at : at + 65_536]


JSON = "application/json"
URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=b"


def body(path: str, media_type: str, size: int) -> bytes:
    """`size` bytes that are sound but for being many."""
    start, end = {
        JSON: (b'{"title": "Hello", "content": "', b'"}'),
        URLENCODED: (b"username=anna&password=", b""),
        MULTIPART: (
            b'--b\r\nContent-Disposition: form-data; name="username"\r\n\r\nanna\r\n'
            b'--b\r\nContent-Disposition: form-data; name="password"\r\n\r\n',
            b"\r\n--b--\r\n",
        ),
    }[media_type]
    return start + b"x" * (size - len(start) - len(end)) + end


TAKERS = [
    ("/posts", JSON, 2 * 1024 * 1024),
    ("/posts/", JSON, 2 * 1024 * 1024),
    ("/users", JSON, 16 * 1024),
    ("/login", URLENCODED, 16 * 1024),
    ("/login", MULTIPART, 16 * 1024),
]
"""A path, a type of body that it takes, and the most bytes of one."""


@pytest.mark.parametrize(("path", "media_type", "most"), TAKERS)
@pytest.mark.parametrize("excess", [1, 10_000_000])
@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_over_the_limit_of_its_path_is_413(
    api: ApiClient, path: str, media_type: str, most: int, excess: int, announced: bool
) -> None:
    anna = await api.person()
    content = body(path, media_type, most + excess)

    answer = await api.client.post(
        path,
        content=content if announced else chunks(content),
        headers=anna.headers | {"Content-Type": media_type},
    )

    assert ("Content-Length" in answer.request.headers) is announced
    problem_of(answer, 413, "content_too_large")


async def test_a_body_over_the_limit_is_not_read_to_its_end(api: ApiClient) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 100_000_000:
            sent += 65_536
            yield b" " * 65_536

    anna = await api.person()
    answer = await api.client.post(
        "/posts", content=endless(), headers=anna.headers | {"Content-Type": JSON}
    )

    problem_of(answer, 413, "content_too_large")
    assert sent <= BODY_MAX_BELOW["posts"] + 2 * 65_536


async def test_the_limit_of_a_path_is_the_same_behind_a_prefix(api: ApiClient) -> None:
    anna = await api.person()
    async with client_of(api.app, root_path="/api") as client:
        answers = [
            await client.post(
                path,
                content=body("/posts", JSON, BODY_MAX + 1),
                headers=anna.headers | {"Content-Type": JSON},
            )
            for path in ("/api/posts", "/api/users", "/api/postscript")
        ]

    assert [answer.status_code for answer in answers] == [201, 413, 404]


@pytest.mark.parametrize(("path", "media_type", "most"), TAKERS)
async def test_a_body_at_the_limit_of_its_path_is_read(
    api: ApiClient, path: str, media_type: str, most: int
) -> None:
    anna = await api.person()

    answer = await api.client.post(
        path,
        content=body(path, media_type, most),
        headers=anna.headers | {"Content-Type": media_type},
    )

    assert answer.status_code in (401, 422)


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/posts", "text/plain"),
        ("/posts", "application/xml"),
        ("/posts", URLENCODED),
        ("/posts", MULTIPART),
        ("/posts", "application/jsonp"),
        ("/posts", "json"),
        ("/posts", None),
        ("/users", "text/plain"),
        ("/users", None),
        ("/login", JSON),
        ("/login", "text/plain"),
        ("/login", None),
    ],
)
async def test_a_body_of_another_type_is_415(
    api: ApiClient, path: str, media_type: str | None
) -> None:
    anna = await api.person()
    headers = anna.headers | ({"Content-Type": media_type} if media_type else {})
    content = b'{"title": "Hello", "content": "x"}'

    for sent in (content, chunks(content)):
        answer = await api.client.post(path, content=sent, headers=headers)
        problem_of(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "media_type",
    ["application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.x+json", JSON + ";"],
)
async def test_json_has_several_media_types(api: ApiClient, media_type: str) -> None:
    anna = await api.person()

    answer = await api.client.post(
        "/posts",
        content=b'{"title": "Hello", "content": "x"}',
        headers=anna.headers | {"Content-Type": media_type},
    )

    assert answer.status_code == 201


PREFLIGHT = {
    "Origin": CORS_ORIGIN,
    "Access-Control-Request-Method": "PUT",
    "Access-Control-Request-Headers": "Authorization, Content-Type, If-Match, If-None-Match, "
    "Idempotency-Key",
}
EXPOSED = "ETag, Link, Location, Retry-After, RateLimit, RateLimit-Policy, X-Request-ID"


async def test_a_preflight_from_an_allowed_origin_is_accepted(api: ApiClient) -> None:
    answer = await api.client.options("/posts/1", headers=PREFLIGHT)

    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == CORS_ORIGIN
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert {"GET", "POST", "PUT", "PATCH", "DELETE"} <= listed(
        answer, "Access-Control-Allow-Methods"
    )
    assert listed(httpx.Response(200, headers=PREFLIGHT), "Access-Control-Request-Headers") <= (
        listed(answer, "Access-Control-Allow-Headers")
    )
    assert "Origin" in listed(answer, "Vary")
    assert answer.headers["X-Request-ID"]


@pytest.mark.parametrize(
    "changed",
    [
        {"Origin": "https://elsewhere.example.org"},
        {"Origin": CORS_ORIGIN + ".example.com"},
        {"Origin": "null"},
        {"Access-Control-Request-Method": "TRACE"},
        {"Access-Control-Request-Headers": "X-Other"},
    ],
)
async def test_any_other_preflight_is_refused_as_a_problem(
    api: ApiClient, changed: dict[str, str]
) -> None:
    answer = await api.client.options("/posts", headers=PREFLIGHT | changed)

    problem_of(answer, 400, "cors_refused")
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert "Origin" in listed(answer, "Vary")


@pytest.mark.parametrize(("path", "status"), [("/users/me", 200), ("/x", 404), ("/posts/x", 422)])
async def test_an_allowed_origin_may_read_every_response_and_its_headers(
    api: ApiClient, path: str, status: int
) -> None:
    anna = await api.person()

    answer = await api.client.get(path, headers=anna.headers | {"Origin": CORS_ORIGIN})

    assert answer.status_code == status
    assert answer.headers["Access-Control-Allow-Origin"] == CORS_ORIGIN
    assert answer.headers["Access-Control-Expose-Headers"] == EXPOSED
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert "Origin" in listed(answer, "Vary")


async def test_any_other_origin_may_read_nothing(api: ApiClient) -> None:
    anna = await api.person()
    elsewhere = {"Origin": "https://elsewhere.example.org"}

    answer = await api.client.get("/users/me", headers=anna.headers | elsewhere)

    assert "Access-Control-Allow-Origin" not in answer.headers


async def test_without_allowed_origins_there_is_no_cors(api: ApiClient) -> None:
    app = create_app(api.ports, cursor_keys=[b"k" * 32])
    async with client_of(app) as client:
        preflight = await client.options("/posts", headers=PREFLIGHT)
        simple = await client.get("/health/live", headers={"Origin": CORS_ORIGIN})

    problem_of(preflight, 405, "method_not_allowed")
    assert not [name for name in simple.headers if name.startswith("access-control")]


async def test_locations_and_links_start_with_the_root_path(api: ApiClient) -> None:
    anna = await api.person()
    async with client_of(api.app, root_path="/gate") as client:
        client.headers.update(anna.headers)
        for _ in range(2):
            written = await client.post(
                "/gate/posts/", json={"title": "Hello", "content": "First post."}
            )
        answer = await client.get("/gate/posts", params={"limit": 1})
        following = await client.get(answer.links["next"]["url"])

    assert written.headers["Location"] == f"/gate/posts/{written.json()['id']}"
    assert answer.links["next"]["url"].startswith("/gate/posts?")
    assert len(following.json()) == 1


async def with_head(
    api: ApiClient, headers: list[tuple[bytes, bytes]], **scope: object
) -> httpx.Response:
    """The answer to a request that has these headers and no others."""

    async def server(inner: Scope, receive: Receive, send: Send) -> None:
        await api.app({**inner, **scope, "headers": headers}, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=server), base_url=URL) as client:
        return await client.get("/health/live")


HOST = (b"host", b"gatepost")


@pytest.mark.parametrize(
    "headers",
    [
        [HOST, *[(b"x", b"1")] * 100],
        [HOST, (b"x", b"1" * 32_740)],
        [HOST, (b"x" * 32_740, b"1")],
        [HOST, *[(b"x", b"1" * 400)] * 90],
    ],
)
async def test_a_head_of_over_32_kib_or_100_fields_is_refused(
    api: ApiClient, headers: list[tuple[bytes, bytes]]
) -> None:
    answer = await with_head(api, headers)

    problem_of(answer, 431, "head_too_large")
    assert answer.headers["Connection"] == "close"


async def test_the_target_of_a_request_counts_as_part_of_its_head(api: ApiClient) -> None:
    headers = [HOST, (b"x", b"1" * 30_000)]

    answer = await with_head(api, headers, query_string=b"a" * 3000)

    problem_of(answer, 431, "head_too_large")


@pytest.mark.parametrize("headers", [[HOST, *[(b"x", b"1")] * 99], [HOST, (b"x", b"1" * 32_600)]])
async def test_a_head_of_32_kib_and_100_fields_is_read(
    api: ApiClient, headers: list[tuple[bytes, bytes]]
) -> None:
    assert (await with_head(api, headers)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [[], [HOST, HOST], [(b"host", b"api post")], [(b"host", b"a/b")], [(b"host", b'"<x>')]],
)
async def test_a_request_without_one_valid_host_is_refused(
    api: ApiClient, headers: list[tuple[bytes, bytes]]
) -> None:
    answer = await with_head(api, headers)

    problem_of(answer, 400, "bad_request")
    assert answer.headers["Connection"] == "close"


@pytest.mark.parametrize("host", [b"", b"[::1]:8000", b"gatepost:8000", b"xn--strae-oqa.example."])
async def test_every_valid_host_is_served(api: ApiClient, host: bytes) -> None:
    assert (await with_head(api, [(b"host", host)])).status_code == 200


async def test_http_1_0_needs_no_host(api: ApiClient) -> None:
    assert (await with_head(api, [], http_version="1.0")).status_code == 200


@pytest.mark.parametrize("root_path", ["/api", "/posts", "/p", "/posts/1"])
async def test_any_root_path_is_accepted(api: ApiClient, root_path: str) -> None:
    anna = await api.person()
    app = create_app(api.ports, cursor_keys=[b"k" * 32], root_path=root_path)
    async with client_of(app) as client:
        client.headers.update(anna.headers)
        post = {"title": "Hello", "content": "First post."}
        written = [await client.post("/posts/", json=post) for _ in range(2)]
        first = await client.get("/posts?limit=1")
        at_the_root = await client.get("/docs")

    assert [each.status_code for each in written] == [201, 201]
    assert written[0].headers["Location"] == f"{root_path}/posts/{written[0].json()['id']}"
    assert first.links["next"]["url"].startswith(f"{root_path}/posts?")
    assert f'"{root_path}/docs/docs.js"' in at_the_root.text


class Lines(list[dict[str, object]]):
    """An access log that keeps its lines."""

    def note(self, method: str, path: str, **fields: object) -> None:
        self.append({"method": method, "path": path, **fields})


async def test_the_log_names_the_user_of_each_request(api: ApiClient) -> None:
    anna = await api.person("anna@example.com")
    lines = Lines()
    app = create_app(api.ports, cursor_keys=[b"k" * 32], access_log=lines.note, log_email=True)

    async with client_of(app) as client:
        headers = anna.headers | {"X-Request-ID": "r-1"}
        await client.head("/posts/?limit=1", headers=headers)
        await client.get("/posts/4711", headers=headers)
        await client.get("/posts%0a/%1b[31m/é")

    named, missing, unnamed = lines
    assert isinstance(named.pop("duration_ms"), float)
    assert named == {
        "method": "HEAD",
        "path": "/posts/",
        "route": "/posts",
        "status": 200,
        "request_id": "r-1",
        "user_id": anna.id,
        "email": "anna@example.com",
        "error": None,
        "limit": None,
        "ip": None,
    }
    assert (missing["route"], missing["error"]) == ("/posts/{post_id}", "post_not_found")
    assert (unnamed["route"], unnamed["error"]) == (None, "not_found")
    assert str(unnamed["path"]).isprintable()
    assert (unnamed["status"], unnamed["user_id"], unnamed["email"]) == (404, None, None)


async def note_of(api: ApiClient, body: list[Message], **scope: object) -> dict[str, object]:
    """The line about a registration whose client sends `body`."""
    lines = Lines()
    app = create_app(api.ports, cursor_keys=[b"k" * 32], access_log=lines.note)

    async def server(inner: Scope, _: Receive, send: Send) -> None:
        async def receive() -> Message:
            return body.pop(0)

        await app({**inner, **scope}, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=server), base_url=URL) as client:
        await client.post("/users", json={})
    (line,) = lines
    return line


async def test_a_connection_that_breaks_within_a_body_is_logged_as_broken(api: ApiClient) -> None:
    half: Message = {"type": "http.request", "body": b"{", "more_body": True}

    line = await note_of(api, [half, {"type": "http.disconnect"}])

    assert (line["route"], line["status"], line["error"]) == ("/users", 0, None)


@pytest.mark.parametrize("outcome", [(0, None), (400, "bad_request")])
async def test_the_outcome_reported_by_the_server_is_logged(
    api: ApiClient, outcome: tuple[int, str | None]
) -> None:
    whole: Message = {"type": "http.request", "body": b"{}"}

    line = await note_of(api, [whole], state={"outcome": outcome})

    assert (line["status"], line["error"]) == outcome


async def test_the_log_has_the_first_thousand_characters_of_a_path(api: ApiClient) -> None:
    lines = Lines()
    app = create_app(api.ports, cursor_keys=[b"k" * 32], access_log=lines.note)

    async with client_of(app) as client:
        await client.get("/x" + ":" * 2000)

    (line,) = lines
    assert line["path"] == "/x" + ":" * 998


async def test_refused_requests_are_logged_with_their_address(api: ApiClient) -> None:
    anna = await api.person()
    ports = replace(api.ports, limits=FakeLimits({Limit.WRITES: 1}))
    lines = Lines()
    app = create_app(ports, cursor_keys=[b"k" * 32], access_log=lines.note)

    async with client_of(app, ip="192.0.2.7") as client:
        await client.get("/users/me")
        await client.post("/login", data={"username": anna.email, "password": "wrong"})
        await client.get("/audit", headers=anna.headers)
        for _ in range(2):
            await client.delete("/posts/7", headers=anna.headers)
        await client.get("/users/me", headers=anna.headers)

    assert [(line["status"], line["ip"]) for line in lines] == [
        (401, "192.0.2.7"),
        (401, "192.0.2.7"),
        (403, "192.0.2.7"),
        (404, None),
        (429, "192.0.2.7"),
        (200, None),
    ]


async def test_email_addresses_are_not_logged_by_default(api: ApiClient) -> None:
    anna = await api.person("anna@example.com")
    lines = Lines()
    app = create_app(api.ports, cursor_keys=[b"k" * 32], access_log=lines.note)

    async with client_of(app) as client:
        await client.get("/users/me", headers=anna.headers)

    (line,) = lines
    assert line["user_id"] == anna.id
    assert "anna" not in str(line)


def listed(answer: httpx.Response, header: str) -> set[str]:
    return {name.strip() for name in answer.headers[header].split(",")}
