"""uvicorn, stopped in such a way that no request is lost: docs/decisions/0020-drain.md.

What a signal does: the first SIGTERM drains, the first SIGINT stops without that, and a second of
either cuts off what still runs.
"""

import asyncio
import errno
import logging
import os
import signal
import socket
import time
from collections.abc import Sequence
from functools import partial
from multiprocessing import parent_process
from multiprocessing.connection import wait
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import multiprocess

from infrastructure.fastpath import FastProtocol
from infrastructure.protocol import BoundedProtocol, Bounds

_LINGER = 0.25
"""Seconds that a connection without a request has to send one, when no more are accepted."""

_CLOSE = (b"connection", b"close")

log = logging.getLogger("gatepost")


def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets that take connections at every address of `host`, and on the same port if `port` is
    0. Raises OSError.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    listeners: list[socket.socket] = []
    for family, address in dict.fromkeys((each[0], each[4]) for each in found):
        listener = socket.socket(family)
        listeners.append(listener)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and len(found) > 1:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            listener.bind((address[0], port, *address[2:]))
        except OSError as error:
            # A host without IPv6 still has "localhost" at ::1 in its list of names.
            if error.errno != errno.EADDRNOTAVAIL or len(found) == 1:
                for each in listeners:
                    each.close()
                raise
            listeners.pop().close()
            continue
        port = listener.getsockname()[1]
        # Here, so that nobody else can, and that whoever reads the address may connect at once.
        listener.listen(2048)
        listener.set_inheritable(True)
    if not listeners:
        raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    return listeners


class Config(uvicorn.Config):
    drain_seconds: int = 0
    """How long after SIGTERM the service is not ready and serves still."""


def configuration(
    app: str,
    *,
    host: str,
    workers: int,
    bounds: Bounds,
    fastpath: bool,
    drain_seconds: int,
) -> Config:
    """How uvicorn serves `app`, the import path of a factory."""
    protocol = FastProtocol if fastpath else BoundedProtocol
    config = Config(
        app,
        factory=True,
        host=host,
        workers=workers,
        loop="uvloop",
        http=partial(protocol, bounds=bounds),  # type: ignore[arg-type]
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # `infrastructure.proxies` reads them
        timeout_keep_alive=75,  # over the 60 of most load balancers: it is they who must close
        timeout_graceful_shutdown=10,
    )
    config.drain_seconds = drain_seconds
    return config


class Server(uvicorn.Server):
    """While it drains and stops, `draining` is in the state of every request (ASGI's lifespan
    state), every answer closes its connection, and its exit status will be 0.
    """

    config: Config
    _drained_at: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self._drained_at is None:
            drains = self.started and sig == signal.SIGTERM
            self._drained_at = time.monotonic() + (self.config.drain_seconds if drains else 0)
            if self.started:
                self.lifespan.state["draining"] = True
                self._close_after_answers()
            else:
                self.should_exit = True
        elif parent_process() is None:
            self.should_exit = self.force_exit = True
            self._captured_signals.append(sig)  # which uvicorn raises again when all is over
        # A worker leaves that to its supervisor: a terminal or systemd tells it as well.

    async def on_tick(self, counter: int) -> bool:
        if await super().on_tick(counter):
            return True
        supervisor = parent_process()
        if supervisor and supervisor.pid != os.getppid():
            return True  # it was killed, and nobody else would ever stop us
        if self._drained_at is None:
            return False
        self._close_after_answers()
        return time.monotonic() >= self._drained_at

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        log.info("stops: no more connections are accepted")
        self._close_after_answers()
        loop = asyncio.get_running_loop()
        for connection in self._stop_listening(sockets or []):
            await loop.connect_accepted_socket(self._protocol, connection)
        deadline = time.monotonic() + _LINGER
        while any(map(_awaits_request, self.server_state.connections)):
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(0.01)
        await super().shutdown(sockets)

    def _close_after_answers(self) -> None:
        headers = self.server_state.default_headers
        if _CLOSE not in headers:
            self.server_state.default_headers = [*headers, _CLOSE]

    def _stop_listening(self, listeners: Sequence[socket.socket]) -> list[socket.socket]:
        """The connections that were made and not accepted yet: closing would reset them."""
        # uvloop closes the sockets themselves; nothing may run between the last accept and close.
        copies = [socket.socket(fileno=os.dup(listener.fileno())) for listener in listeners]
        for server in self.servers:
            server.close()
        accepted = []
        for listener in copies:
            with listener:
                listener.setblocking(False)
                while True:
                    try:
                        accepted.append(listener.accept()[0])
                    except BlockingIOError:
                        break
        return accepted

    def _protocol(self) -> asyncio.Protocol:
        protocol: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol


def _awaits_request(connection: Any) -> bool:
    """Whether the head of a request may be on its way: of the first one, or of one half read."""
    return connection.cycle is None or connection.cycle.scope is not connection.scope


class _Worker(multiprocess.Process):
    def is_alive(self, timeout: float = 0) -> bool:  # noqa: ARG002
        # Not by asking it: one that takes its time to start, on a busy machine, would be killed as
        # one that hangs, for ever, and the supervisor would hear no signal while it waits.
        return self.process.is_alive()

    @property
    def server(self) -> uvicorn.Server:
        if self._server is None:
            self._server = Server(self.config)
        return self._server


# The supervisor makes its workers by this name, and has no other way to give them a server.
multiprocess.Process = _Worker  # type: ignore[misc]


class Supervisor(multiprocess.Multiprocess):
    """Workers that serve the same sockets, and are stopped by the signal that stops this."""

    _stopped_by = signal.SIGTERM

    def run(self) -> int:  # type: ignore[override]
        """The exit status: 1 when a worker could not start, or was cut off."""
        super().run()
        ends = {worker.exitcode for worker in self.processes}
        return int(bool({STARTUP_FAILURE, -signal.SIGKILL} & ends))

    def handle_int(self) -> None:
        self._stopped_by = signal.SIGINT
        super().handle_int()

    def terminate_all(self) -> None:
        # Kept open here, they would go on taking connections that nobody accepts.
        for listener in self.sockets:
            listener.close()
        for worker in self.processes:
            if worker.pid and worker.exitcode is None:
                os.kill(worker.pid, self._stopped_by)

    def join_all(self) -> None:
        self.signal_queue.clear()
        while running := [each.process for each in self.processes if each.exitcode is None]:
            if {signal.SIGINT, signal.SIGTERM} & set(self.signal_queue):
                for process in running:
                    process.kill()
            wait([process.sentinel for process in running], timeout=0.1)
