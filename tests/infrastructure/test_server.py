"""Connections of the server: one write for a response, and none lost at the stop."""

import asyncio
import socket
from collections.abc import AsyncIterator
from functools import partial

import pytest
from uvicorn import Config
from uvicorn.lifespan.off import LifespanOff

from api.middleware import FIELDS_MAX, HEAD_MAX
from infrastructure.fastpath import FastProtocol
from infrastructure.protocol import Bounds
from infrastructure.server import Server, listen

PROTOCOL = partial(FastProtocol, bounds=Bounds(HEAD_MAX, FIELDS_MAX))
REQUEST = b"GET / HTTP/1.1\r\nHost: gatepost\r\n\r\n"


async def answer_ok(scope: object, receive: object, send: object) -> None:
    assert callable(send)
    length = (b"content-length", b"0")
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body"})


@pytest.fixture
async def client() -> AsyncIterator[socket.socket]:
    """A connection that the kernel has made and the server has not accepted, since nothing was
    awaited since; and the server stops then.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = Config(answer_ok, lifespan="off", log_config=None, http=PROTOCOL)  # type: ignore[arg-type]
        config.load()
        server = Server(config)
        server.lifespan = LifespanOff(config)
        await server.startup([listener])
        with socket.create_connection(listener.getsockname()) as client:
            client.settimeout(10)
            stopping = asyncio.create_task(server.shutdown([listener]))
            yield client
            await stopping


async def everything(client: socket.socket) -> bytes:
    return await asyncio.to_thread(lambda: b"".join(iter(lambda: client.recv(4096), b"")))


async def test_a_request_on_an_unaccepted_connection_is_answered_before_the_stop(
    client: socket.socket,
) -> None:
    client.sendall(REQUEST)

    answer = await everything(client)

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_request_shortly_after_its_connection_is_answered_before_the_stop(
    client: socket.socket,
) -> None:
    client.sendall(REQUEST[:20])
    await asyncio.sleep(0.1)
    client.sendall(REQUEST[20:])

    assert (await everything(client)).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_connection_without_a_request_is_closed(client: socket.socket) -> None:
    assert await everything(client) == b""


def test_a_host_with_several_addresses_has_one_port_on_each() -> None:
    listeners = listen("*", 0)  # which every machine has two of, and "localhost" many

    try:
        assert {each.getsockname()[0] for each in listeners} == {"0.0.0.0", "::"}
        (port,) = {each.getsockname()[1] for each in listeners}
        for address in ("127.0.0.1", "::1"):
            socket.create_connection((address, port), 10).close()
    finally:
        for each in listeners:
            each.close()


def test_a_port_in_use_is_an_error_and_leaves_no_socket_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            listen("localhost", port)
    for each in listen("localhost", port):
        each.close()


class Sink(asyncio.Transport):
    """What is written, and where a client would have closed."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.written: list[bytes] = []
        self.closes = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closes > 0

    def close(self) -> None:
        self.closes += 1

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


async def answer_hello(scope: object, receive: object, send: object) -> None:
    assert callable(send)
    length = (b"content-length", b"5")
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": b"hello"})


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
async def protocol(sink: Sink) -> FastProtocol:
    config = Config(answer_hello, lifespan="off", log_config=None)
    config.load()
    protocol = PROTOCOL(config=config, server_state=Server(config).server_state, app_state={})
    protocol.connection_made(sink)
    return protocol


async def test_head_and_body_of_a_response_are_written_together(
    protocol: FastProtocol, sink: Sink
) -> None:
    for _ in range(3):
        protocol.data_received(REQUEST)
        await asyncio.sleep(0.01)

    assert len(sink.written) == 3
    assert all(it.startswith(b"HTTP/1.1 200") and it.endswith(b"hello") for it in sink.written)


async def test_a_response_is_written_before_its_connection_is_closed(
    protocol: FastProtocol, sink: Sink
) -> None:
    protocol.data_received(REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    await asyncio.sleep(0.01)

    assert sink.closes
    assert [it[-5:] for it in sink.written] == [b"hello"]


async def test_nothing_is_written_to_a_disconnected_client(
    protocol: FastProtocol, sink: Sink
) -> None:
    protocol.data_received(REQUEST)
    await asyncio.sleep(0)
    sink.close()

    await asyncio.sleep(0.01)
    assert sink.written == []
