"""One write for the head and the body of an answer, which can be taken out.

With GATEPOST_FASTPATH=off `BoundedProtocol` serves alone. Only `server` imports from here: to
take it out, delete this module and its lines there. It relies on uvicorn to write an answer by
`asyncio.Transport.write` and `close` alone, within one turn of the event loop.
docs/decisions/0022-one-write.md has the figures.
"""

import asyncio
from typing import Any

from infrastructure.protocol import BoundedProtocol

_MOST = 64 * 1024
"""Bytes; only the transport tells an application to pause that writes more than a client reads."""


class FastProtocol(BoundedProtocol):
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(_Transport(transport, self.loop))  # type: ignore[arg-type]


class _Transport:
    """Sends what is written in one turn of the event loop at once, up to `_MOST` bytes.

    uvicorn writes the head of an answer and its body one after the other, and each would be a call
    of the system and a packet of its own.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []
        self._size = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._parts:
            self._loop.call_soon(self._send)
        self._parts.append(data)
        self._size += len(data)
        if self._size > _MOST:
            self._send()

    def write_eof(self) -> None:
        self._send()
        self._transport.write_eof()

    def close(self) -> None:
        self._send()
        self._transport.close()

    def _send(self) -> None:
        data, self._parts, self._size = b"".join(self._parts), [], 0
        if data and not self._transport.is_closing():
            self._transport.write(data)
