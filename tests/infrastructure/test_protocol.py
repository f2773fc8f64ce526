"""Bounds on a connection, over real sockets with short time limits."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from uvicorn import Config
from uvicorn.lifespan.off import LifespanOff

from infrastructure.fastpath import FastProtocol
from infrastructure.protocol import OUTCOME, PIPELINE_MAX, BoundedProtocol, Bounds
from infrastructure.server import Server, listen

HEAD_MAX, FIELDS_MAX = 4096, 20
PATIENCE = 10.0
"""Seconds until a test fails that waits for something."""

SHORT, LONG = 0.2, 60.0
HEAD = b"POST / HTTP/1.1\r\nHost: gatepost\r\n"
GET = b"GET / HTTP/1.1\r\nHost: gatepost\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: gatepost\r\n\r\n"

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


def bounds(**changed: Any) -> Bounds:
    times = {
        "head": LONG,
        "body_pause": LONG,
        "body": LONG,
        "unread": LONG,
        "linger": LONG,
        "tick": 0.02,
    }
    return Bounds(HEAD_MAX, FIELDS_MAX, **(times | {"connections": 1000} | changed))


@dataclass
class Application:
    """Answers with the length of the body, once it may go on."""

    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    seen: list[tuple[str, str, bytes]] = field(default_factory=list)
    """Method, path and body of each request that was read to its end."""
    headers: dict[bytes, bytes] = field(default_factory=dict)
    entered: int = 0
    entries: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    left: asyncio.Event = field(default_factory=asyncio.Event)
    answer: bytes | None = None
    state: dict[str, Any] = field(default_factory=dict)
    client: str = ""

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        self.state = scope["state"]
        self.client = scope["client"][0]
        self.entered += 1
        self.entries.release()
        await self.go_on.wait()
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.left.set()
                return
            body, more = body + message["body"], message["more_body"]
        self.seen.append((scope["method"], scope["path"], body))
        self.headers = dict(scope["headers"])
        answer = self.answer or b"%d" % len(body)
        length = (b"content-length", b"%d" % len(answer))
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        for start in range(0, len(answer), 65536):
            chunk = answer[start : start + 65536]
            more = start + 65536 < len(answer)
            await send({"type": "http.response.body", "body": chunk, "more_body": more})
        self.left.set()

    async def enters(self) -> None:
        """Return when one more request than before has come."""
        await asyncio.wait_for(self.entries.acquire(), PATIENCE)


@pytest.fixture
def app() -> Application:
    app = Application()
    app.go_on.set()
    return app


@dataclass
class Running:
    address: tuple[str, int]
    connections: set[Any]
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def connect(self) -> "Connection":
        reader, writer = await asyncio.open_connection(*self.address)
        self.writers.append(writer)
        return Connection(reader, writer)

    async def is_left(self) -> None:
        """Return when the server has noticed that its clients have gone."""
        async with asyncio.timeout(PATIENCE):
            while self.connections:  # noqa: ASYNC110  uvicorn has no event for it
                await asyncio.sleep(0.01)

    async def a_while(self) -> None:
        """Return when a connection that began now is closed for want of a head."""
        assert await (await self.connect()).rest() == b""


@dataclass
class Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def rest(self) -> bytes:
        """All that comes until the connection is closed, by whatever end."""
        received = b""
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    some = await self.reader.read(65536)
                except ConnectionError:
                    some = b""
                if not some:
                    return received
                received += some

    async def answer(self) -> bytes:
        """The body of one answer."""
        async with asyncio.timeout(PATIENCE):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            return await self.reader.readexactly(int(length))

    async def problem(self, status: int, code: str) -> None:
        """Expects this problem, whole, and the end of the connection."""
        head, _, body = (await self.rest()).partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        assert lines[0].startswith(f"HTTP/1.1 {status} ")
        headers = dict(line.split(": ") for line in lines[1:])
        assert headers["connection"] == "close"
        assert headers["content-type"] == "application/problem+json"
        assert int(headers["content-length"]) == len(body)
        problem = json.loads(body)
        assert (problem["status"], problem["code"]) == (status, code)
        assert problem["request_id"] == headers["x-request-id"]


@asynccontextmanager
async def running(
    app: Application,
    bounds: Bounds,
    protocol: type[BoundedProtocol] = FastProtocol,
    listener: socket.socket | None = None,
) -> AsyncIterator[Running]:
    with listener or socket.create_server(("127.0.0.1", 0)) as listener:
        http: Any = partial(protocol, bounds=bounds)
        config = Config(app, lifespan="off", log_config=None, http=http, ws="none")
        config.load()
        server = Server(config)
        server.lifespan = LifespanOff(config)
        await server.startup([listener])
        it = Running(("127.0.0.1", listener.getsockname()[1]), server.server_state.connections)
        yield it
        server.force_exit = True
        for writer in it.writers:
            writer.transport.abort()
        await server.shutdown([listener])


@pytest.mark.parametrize("protocol", [FastProtocol, BoundedProtocol])
@pytest.mark.parametrize(
    "head",
    [
        HEAD + b"X: " + b"a" * 100_000,
        HEAD + b"a" * 100_000,
        HEAD + b"".join(b"X-%d: 1\r\n" % number for number in range(FIELDS_MAX + 1)),
        b"GET /" + b"a" * 100_000,
        b"\r\n" * 50_000,
    ],
    ids=["a long value", "a long name", "many fields", "a long target", "empty lines"],
)
async def test_a_head_that_does_not_end_is_refused(
    app: Application, head: bytes, protocol: type[BoundedProtocol]
) -> None:
    async with running(app, bounds(), protocol) as server:
        client = await server.connect()
        client.send(head)

        await client.problem(431, "head_too_large")
    assert not app.entered


async def test_a_body_that_is_longer_than_a_head_may_be_is_read(app: Application) -> None:
    async with running(app, bounds()) as server:
        client = await server.connect()
        for _ in range(2):
            client.send(HEAD + b"Content-Length: 1000000\r\n\r\n" + b"a" * 1_000_000)

            assert await client.answer() == b"1000000"


@pytest.mark.parametrize("sent", [b"", b"\r\n", GET[:20]])
async def test_a_connection_without_a_complete_head_is_closed(
    app: Application, sent: bytes
) -> None:
    async with running(app, bounds(head=SHORT)) as server:
        client = await server.connect()
        client.send(sent)

        assert await client.rest() == b""
    assert not app.entered


async def test_a_second_head_has_the_same_time_limit(app: Application) -> None:
    async with running(app, bounds(head=SHORT)) as server:
        client = await server.connect()
        client.send(GET + GET[:20])

        assert (await client.rest()).endswith(b"\r\n\r\n0")
    assert app.entered == 1


async def test_an_idle_connection_may_wait_longer(app: Application) -> None:
    async with running(app, bounds(head=SHORT)) as server:
        client = await server.connect()
        client.send(GET)
        await client.answer()
        await server.a_while()
        client.send(GET[:20])
        await asyncio.sleep(0.05)  # for a tick to see it
        client.send(GET[20:])

        assert await client.answer() == b"0"


async def test_a_stalled_body_closes_the_connection(app: Application) -> None:
    async with running(app, bounds(body_pause=SHORT)) as server:
        client = await server.connect()
        client.send(HEAD + b"Content-Length: 10\r\n\r\nhalf")

        assert await client.rest() == b""
        await asyncio.wait_for(app.left.wait(), PATIENCE)
    assert app.seen == []


async def test_a_body_that_takes_too_long_closes_the_connection(app: Application) -> None:
    async with running(app, bounds(body=SHORT)) as server:
        client = await server.connect()
        client.send(HEAD + b"Content-Length: 100000\r\n\r\n")
        closed = asyncio.create_task(client.rest())
        while not closed.done():
            client.send(b"a")
            await asyncio.wait([closed], timeout=0.01)

        assert closed.result() == b""
    assert app.seen == []


async def test_a_slow_endpoint_does_not_close_the_connection(
    app: Application,
) -> None:
    app.go_on.clear()
    async with running(app, bounds(head=SHORT, body_pause=SHORT, unread=SHORT)) as server:
        client, short = await server.connect(), await server.connect()
        client.send(HEAD + b"Content-Length: 1000000\r\n\r\n" + b"a" * 1_000_000)
        short.send(GET)
        await server.a_while()
        app.go_on.set()

        assert await client.answer() == b"1000000"
        assert await short.answer() == b"0"


@pytest.mark.parametrize("protocol", [FastProtocol, BoundedProtocol])
async def test_a_client_that_does_not_read_its_response_is_closed(
    app: Application, protocol: type[BoundedProtocol]
) -> None:
    app.answer = b"a" * 50_000_000
    async with running(app, bounds(unread=SHORT), protocol) as server:
        client = await server.connect()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.send(GET)

        await asyncio.wait_for(app.left.wait(), PATIENCE)
        assert not server.connections


async def test_a_client_that_reads_slowly_gets_its_response(app: Application) -> None:
    app.answer = b"a" * 40_000_000
    async with running(app, bounds(unread=SHORT)) as server:
        client = await server.connect()
        client.send(GET)
        received = 0
        while received < len(app.answer):
            some = await asyncio.wait_for(client.reader.read(250_000), PATIENCE)
            assert some
            received += len(some)
            await asyncio.sleep(0.002)  # all in all, longer than `unread`


async def test_a_full_server_closes_the_longest_idle_connection(
    app: Application,
) -> None:
    async with running(app, bounds(connections=2)) as server:
        first, second = await server.connect(), await server.connect()
        for client in (first, second):
            client.send(GET)
            await client.answer()
        third = await server.connect()
        third.send(GET)

        assert await third.answer() == b"0"
        assert await first.rest() == b""
        second.send(GET)
        assert await second.answer() == b"0"


async def test_a_server_full_of_requests_refuses_a_connection(app: Application) -> None:
    app.go_on.clear()
    async with running(app, bounds(connections=2)) as server:
        busy = [await server.connect() for _ in range(2)]
        for client in busy:
            client.send(GET)
            await app.enters()
        third = await server.connect()

        await third.problem(503, "too_many_connections")
        app.go_on.set()
        assert [await client.answer() for client in busy] == [b"0", b"0"]


BODIES = {
    "length": (b"Content-Length: %d\r\n\r\n" % len(SMUGGLED), SMUGGLED),
    "chunks": (
        b"Transfer-Encoding: chunked\r\n\r\n",
        b"%x\r\n%s\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED),
    ),
}


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("upgrade", [b"h2c", b"websocket"])
async def test_the_body_of_an_upgrade_request_is_not_parsed_as_a_request(
    app: Application, upgrade: bytes, body: str, at_once: bool
) -> None:
    rest, content = BODIES[body]
    head = HEAD + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: " + upgrade
    head += b"\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n" + rest
    async with running(app, bounds()) as server:
        client = await server.connect()
        if at_once:
            client.send(head + content + GET)
        else:
            client.send(head)
            await client.writer.drain()
            await asyncio.sleep(0.01)
            client.send(content[:10])
            await asyncio.sleep(0.01)
            client.send(content[10:] + GET)

        assert await client.answer() == b"%d" % len(SMUGGLED)
        assert await client.answer() == b"0"
    assert app.seen == [("POST", "/", SMUGGLED), ("GET", "/", b"")]


async def test_a_trailer_field_is_not_a_header(app: Application) -> None:
    async with running(app, bounds()) as server:
        client = await server.connect()
        client.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        client.send(b"0\r\nX-Forwarded-For: 192.0.2.1\r\nAuthorization: Bearer x\r\n\r\n")

        assert await client.answer() == b"3"
    assert app.headers == {b"host": b"gatepost", b"transfer-encoding": b"chunked"}


@pytest.mark.parametrize("unit", [b"X: 1\r\n", b"a"])
async def test_trailer_fields_that_do_not_end_are_refused(app: Application, unit: bytes) -> None:
    async with running(app, bounds()) as server:
        client = await server.connect()
        client.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n" + unit * 50_000)

        await client.problem(431, "head_too_large")
    assert app.seen == []


async def test_invalid_http_is_refused_after_the_responses_to_valid_requests(
    app: Application,
) -> None:
    async with running(app, bounds()) as server:
        client, good = await server.connect(), await server.connect()
        client.send(b"\x16\x03\x01\x02\x00\x01")
        good.send(GET + GET + b"\x16\x03\x01\x02\x00\x01")

        await client.problem(400, "bad_request")
        assert [await good.answer(), await good.answer()] == [b"0", b"0"]
        assert await good.rest() == b""
    assert app.entered == 2


async def test_a_client_that_keeps_sending_after_a_refusal_is_closed(app: Application) -> None:
    async with running(app, bounds(linger=SHORT)) as server:
        client = await server.connect()
        client.send(b"\x16\x03\x01\x02\x00\x01")
        await client.problem(400, "bad_request")
        closed = asyncio.create_task(client.writer.wait_closed())
        while not closed.done():
            client.send(b"a")
            await asyncio.wait([closed], timeout=0.01)

        assert not server.connections


async def test_a_body_with_invalid_chunks_is_refused(app: Application) -> None:
    async with running(app, bounds()) as server:
        client = await server.connect()
        client.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nnonsense\r\n")

        await client.problem(400, "bad_request")
    assert app.seen == []


async def test_the_number_of_pipelined_requests_is_bounded(app: Application) -> None:
    app.go_on.clear()
    async with running(app, bounds()) as server:
        client = await server.connect()
        client.send(GET * 5000)
        await app.enters()
        app.go_on.set()

        answers = await client.rest()
    per_read = HEAD_MAX // len(GET) + 1
    assert PIPELINE_MAX < answers.count(b"HTTP/1.1 200 ") <= PIPELINE_MAX + per_read


@pytest.mark.parametrize("sent", [GET, HEAD + b"Content-Length: 10\r\n\r\nhalf"])
async def test_the_application_learns_of_a_client_who_left_before_the_answer(
    app: Application, sent: bytes
) -> None:
    app.go_on.clear()
    async with running(app, bounds()) as server:
        client = await server.connect()
        client.send(sent)
        await app.enters()
        client.writer.transport.abort()
        await server.is_left()
        app.go_on.set()
        await asyncio.wait_for(app.left.wait(), PATIENCE)

    assert app.state[OUTCOME] == (0, None)


async def test_the_application_learns_of_a_client_who_left_within_the_answer(
    app: Application,
) -> None:
    app.answer = b"a" * 50_000_000
    async with running(app, bounds()) as server:
        client = await server.connect()
        client.send(GET)
        await client.reader.readuntil(b"\r\n\r\n")
        client.writer.transport.abort()
        await asyncio.wait_for(app.left.wait(), PATIENCE)

    assert app.state[OUTCOME] == (0, None)


async def test_a_client_who_leaves_after_the_response_is_not_reported(app: Application) -> None:
    async with running(app, bounds()) as server:
        client = await server.connect()
        client.send(GET)
        await client.answer()
        client.writer.transport.abort()
        await server.is_left()

    assert OUTCOME not in app.state


async def test_an_ipv4_client_of_an_ipv6_socket_counts_as_ipv4(app: Application) -> None:
    (listener,) = listen("::", 0)
    async with running(app, bounds(), listener=listener) as server:
        client = await server.connect()
        client.send(GET)
        await client.answer()

    assert app.client == "127.0.0.1"
