"""uvicorn's HTTP/1.1 protocol, with bounds on what one connection may cost.

uvicorn by itself reads a head of any size, waits without limit for a client that sends nothing or
reads nothing, and takes any number of connections. This protocol bounds each of these: it refuses
a request over a bound, or closes its connection. docs/decisions/0032-bounds-of-connections.md has
the reasons.

It relies on these parts of uvicorn, which `pyproject.toml` bounds for that: the callbacks of
`HttpToolsProtocol` for httptools, its attributes `cycle`, `scope`, `headers`, `parser`, `flow`,
`pipeline` and `connections`, and the state of a `RequestResponseCycle`.
"""

import asyncio
import json
import logging
import resource
from asyncio import TimerHandle
from dataclasses import dataclass, field
from http import HTTPStatus
from secrets import token_hex
from typing import Any

from httptools import HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from infrastructure.proxies import address

PIPELINE_MAX = 100
"""Maximum number of requests that wait for an earlier answer on the same connection."""

REQUEST_ID = "request_id"
"""Key of the request's id in its state (ASGI's lifespan state)."""

OUTCOME = "outcome"
"""Key of the outcome in the request's state, when the application did not answer it: the status and
the error's code. Status 0 means that the connection broke.
"""

log = logging.getLogger("gatepost")


def _connections_max() -> int:
    """1,000, or fewer where the process may open fewer files."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1000 if files == resource.RLIM_INFINITY else max(1, min(1000, files - 200))


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits of a connection. Times are in seconds, exact to within `tick`."""

    head_bytes: int
    """Maximum size of an incomplete head, and of a trailer section. It may be exceeded by one read;
    the application checks the exact size of a complete head.
    """
    fields: int
    """Maximum number of fields of an incomplete head, and of a trailer section."""
    connections: int = field(default_factory=_connections_max)
    """Maximum number of connections of one process. Beyond it the longest idle connections are
    closed; if none is idle, the new one is refused with 503.
    """
    head: float = 10
    """Time to receive a head, from its first byte or from the start of the connection."""
    body_pause: float = 10
    """Longest pause between two bytes of a body."""
    body: float = 60
    """Time to receive a body, from the end of the head."""
    unread: float = 30
    """Longest time in which a client reads nothing of its answer."""
    linger: float = 2
    """Time from the refusal of unreadable input to the end of the connection."""
    tick: float = 1


class BoundedProtocol(HttpToolsProtocol):
    """Also ignores the wish for an upgrade (h2c, WebSocket), so that no body is read as the next
    request, and keeps trailer fields out of the headers (RFC 9110, section 6.5.1).
    """

    _timer: TimerHandle
    _began_at: float
    """Start of the current phase: receiving a head, or a body."""
    read_at: float
    """Time of the last byte received."""
    _written_at: float
    """Time when the write buffer last shrank: the client was reading."""
    _unsent = 0
    _unfinished = 0
    """Bytes received since the parser last completed a head, a body or a chunk."""
    _has_read_body = False
    _is_complete = True
    """Whether the last request has been received completely."""
    _is_refused = False
    """Whether input is discarded until the client closes the connection."""
    _refused_at = 0.0
    _idle_scope: Any = None
    _idle_at = 0.0

    def __init__(self, *arguments: Any, bounds: Bounds, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._bounds = bounds
        self.parser = _Parser(self)

    @property
    def last(self) -> RequestResponseCycle | None:
        """The last request whose head is complete, and its answer."""
        return self.cycle

    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered, nor read beyond its head."""
        cycle = self.last
        return cycle is None or (cycle.response_complete and self._is_complete)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self.client and self.client[0].startswith("::ffff:"):
            self.client = (str(address(self.client[0])), self.client[1])
        self._began_at = self.read_at = self._written_at = self.loop.time()
        self._timer = self.loop.call_later(self._bounds.tick, self._tick)
        if len(self.connections) > self._bounds.connections:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        cycle = self.last
        if cycle and not cycle.response_complete:
            cycle.scope["state"].setdefault(OUTCOME, (0, None))
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self.read_at = self.loop.time()
        size = self._bounds.head_bytes
        if len(data) <= size:
            self._read(data)
        else:
            for start in range(0, len(data), size):
                self._read(data[start : start + size])

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise NotImplementedError  # the parser makes it an invalid request
            return  # `read_without_upgrade` comes next
        super().on_headers_complete()
        self._is_complete = False
        self.headers = []  # for trailer fields

    def on_body(self, body: bytes) -> None:
        self._has_read_body = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._is_complete = True
        super().on_message_complete()

    def read_without_upgrade(self, rest: bytes) -> None:
        """Read the head that was just read again, without its `Upgrade`, and then `rest`.

        The parser would take what follows such a head for another protocol, or for the next
        request: a body could smuggle one past a proxy.
        """
        method, version = self.parser.get_method(), self.parser.get_http_version()
        head = [b"%s %s HTTP/%s" % (method, self.url, version.encode())]
        for name, value in self.headers:
            if name == b"connection":
                head.append(
                    b"connection: close" if b"close" in value.lower() else b"connection: keep-alive"
                )
            elif name not in (b"upgrade", b"http2-settings"):
                head.append(b"%s: %s" % (name, value))
        self.parser = _Parser(self)
        self.parser.feed_data(b"\r\n".join(head) + b"\r\n\r\n" + rest)

    def resume_writing(self) -> None:
        self._written_at = self.loop.time()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        self._refuse(400, "bad_request", "The request is not valid HTTP")

    def _read(self, data: bytes) -> None:
        if self._is_refused:
            return
        scope, cycle, self._has_read_body = self.scope, self.cycle, False
        super().data_received(data)
        if self.scope is not scope or self.cycle is not cycle:
            self._began_at = self.read_at
            self._unfinished = 0
        elif self._has_read_body:
            self._unfinished = 0
        else:
            self._unfinished += len(data)
        if self._unfinished > self._bounds.head_bytes or (
            self.headers and len(self.headers) > self._bounds.fields
        ):
            self._refuse(431, "head_too_large", "The head of the request is too large")
        if len(self.pipeline) > PIPELINE_MAX:
            self._is_refused = True
            self.cycle.keep_alive = False

    def _refuse(self, status: int, code: str, detail: str) -> None:
        """Read nothing more. What could not be read is answered, after what was read before it."""
        if self._is_refused:
            return
        self._is_refused = True
        self._refused_at = self.loop.time()
        cycle = self.last
        if self._is_complete:
            request_id = token_hex(8)
            fields = {"status": status, "error": code, "request_id": request_id}
            fields["ip"] = self.client[0] if self.client else None
            log.warning("refused", extra={"fields": fields})
            if cycle and not cycle.response_complete:
                cycle.keep_alive = False  # the client learns of it by the end of the connection
                return
        else:  # the application waits for the body, and notes the outcome
            state = self.cycle.scope["state"]
            request_id = state.setdefault(REQUEST_ID, token_hex(8))
            state[OUTCOME] = (status, code)
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.pipeline or self.cycle.response_started:
                self.transport.close()
                return
        self.transport.write(_problem(status, code, detail, request_id))
        # Closed now, what the client still sends would make its system drop the answer.
        self.transport.write_eof()

    def _make_room(self) -> None:
        idle = [each for each in self.connections if isinstance(each, BoundedProtocol)]
        idle = [each for each in idle if each is not self and each.is_idle]
        if not idle:
            self._refuse(503, "too_many_connections", "Too many connections, try again")
        # Some at once, so that the next ones need not look for idle connections again.
        for each in sorted(idle, key=lambda each: each.read_at)[
            : 1 + self._bounds.connections // 16
        ]:
            each.transport.close()

    def _tick(self) -> None:
        if self._is_overdue(self.loop.time()):
            self.transport.abort()
        else:
            self._timer = self.loop.call_later(self._bounds.tick, self._tick)

    def _is_overdue(self, now: float) -> bool:
        bounds, cycle = self._bounds, self.last
        unsent = self.transport.get_write_buffer_size()
        if not unsent or unsent < self._unsent:
            self._written_at = now
        self._unsent = unsent
        if unsent:
            return now - self._written_at > bounds.unread
        if self._is_refused and (cycle is None or cycle.disconnected or cycle.response_complete):
            return now - self._refused_at > bounds.linger
        if self.flow.read_paused or (cycle and cycle.waiting_for_100_continue):
            self.read_at = now  # the service keeps the client waiting
            return False
        if cycle is None or self.scope is not cycle.scope:
            return now - self._began_at > bounds.head
        if not self._is_complete:
            return now - self.read_at > bounds.body_pause or now - self._began_at > bounds.body
        if not cycle.response_complete:
            return False
        # uvicorn's own timer ends with the first byte, which may be one of an empty line.
        if self._idle_scope is not self.scope:
            self._idle_scope, self._idle_at = self.scope, now
        return now - self._idle_at > self.timeout_keep_alive + bounds.tick


class _Parser(HttpRequestParser):
    def __init__(self, protocol: BoundedProtocol) -> None:
        super().__init__(protocol)
        self._protocol = protocol
        # As uvicorn has it: a request that follows `Connection: close` is passed over.
        self.set_dangerous_leniencies(lenient_data_after_close=True)

    def feed_data(self, data: bytes) -> None:  # type: ignore[override]
        try:
            super().feed_data(data)
        except HttpParserUpgrade as upgrade:
            self._protocol.read_without_upgrade(data[upgrade.args[0] :])


def _problem(status: int, code: str, detail: str, request_id: str) -> bytes:
    """A whole answer, as RFC 9457 has it, to what never reached the application."""
    problem = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    problem |= {"detail": detail, "code": code, "request_id": request_id}
    body = json.dumps(problem, separators=(",", ":")).encode()
    head = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        "content-type: application/problem+json",
        f"content-length: {len(body)}",
        f"x-request-id: {request_id}",
        "x-content-type-options: nosniff",
        "connection: close",
    ]
    if status == 503:
        head.append("retry-after: 1")
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body
