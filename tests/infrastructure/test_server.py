"""What happens to a connection that is made in the very moment in which the server stops."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from uvicorn.lifespan.off import LifespanOff

from infrastructure.server import Config, Server

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
        config = Config(answer_ok, lifespan="off", log_config=None, http="httptools")
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


async def test_a_request_on_a_connection_that_nobody_accepted_yet_is_answered(
    client: socket.socket,
) -> None:
    client.sendall(REQUEST)

    answer = await everything(client)

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"connection: close\r\n" in answer


async def test_a_request_that_comes_a_moment_after_its_connection_is_answered(
    client: socket.socket,
) -> None:
    client.sendall(REQUEST[:20])
    await asyncio.sleep(0.1)
    client.sendall(REQUEST[20:])

    assert (await everything(client)).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_connection_without_a_request_is_closed(client: socket.socket) -> None:
    assert await everything(client) == b""
