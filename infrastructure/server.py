"""uvicorn, and its workers, so that no request is lost when they stop.

docs/decisions/0031-drain-on-public-interfaces.md has the reasons.
"""

import asyncio
import errno
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.config import STARTUP_FAILURE

from infrastructure.fastpath import FastProtocol
from infrastructure.protocol import BoundedProtocol, Bounds

_LINGER = 1.0
"""Seconds that a connection without a request has to send one, when no more are accepted."""

_TICK = 0.5
"""Seconds in which the supervisor notices a signal."""

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


def configuration(
    app: str,
    *,
    host: str,
    workers: int,
    bounds: Bounds,
    fastpath: bool,
) -> uvicorn.Config:
    """How uvicorn serves `app`, the import path of a factory."""
    protocol = FastProtocol if fastpath else BoundedProtocol
    return uvicorn.Config(
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


def serve(config: uvicorn.Config, listeners: Sequence[socket.socket]) -> int:
    """Serve until a signal stops it (`infrastructure.draining`).

    Returns the exit status: 0 after a stop in good order, 1 when something was cut off or a worker
    could not start.
    """
    if config.workers > 1:
        return Supervisor(config, listeners).run()
    return _serve(config, listeners)


def _serve(
    config: uvicorn.Config, listeners: Sequence[socket.socket], ready: Connection | None = None
) -> int:
    # uvicorn raises the signals that stopped it again when all is over, and a stop is no failure.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    server = Server(config, ready)
    server.run(sockets=list(listeners))
    return int(server.force_exit)


class Server(uvicorn.Server):
    """Loses no connection when it stops, and says by `ready` when it serves."""

    def __init__(self, config: uvicorn.Config, ready: Connection | None = None) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._ready:
            self._ready.send(True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        log.info("stopping: no more connections are accepted")
        loop = asyncio.get_running_loop()
        for connection in self._stop_listening(sockets or []):
            await loop.connect_accepted_socket(self._protocol, connection)
        deadline = time.monotonic() + _LINGER
        while any(map(_awaits_request, self.server_state.connections)):
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(0.01)
        await super().shutdown(sockets)

    def _stop_listening(self, listeners: Sequence[socket.socket]) -> list[socket.socket]:
        """Returns the connections that were made and not accepted yet: closing would reset them."""
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


@dataclass
class _Worker:
    process: SpawnProcess
    ready: Connection

    def serves(self, timeout: float) -> bool:
        """Wait for `timeout` seconds until the worker says that it serves."""
        try:
            return self.ready.poll(timeout) and self.ready.recv() is True
        except EOFError:
            return False


class Supervisor:
    """Keeps `config.workers` processes that serve the same sockets.

    SIGTERM and SIGINT are passed on to them, and a second one kills those that still run. SIGHUP
    replaces them one by one, each as soon as its successor serves.
    """

    def __init__(self, config: uvicorn.Config, listeners: Sequence[socket.socket]) -> None:
        self._config = config
        self._listeners = listeners
        self._workers: list[_Worker] = []
        self._stopped_by: int | None = None
        self._reloads = False

    def run(self) -> int:
        """Returns the exit status: 1 when a worker could not start, or was cut off."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        self._workers = [self._start() for _ in range(self._config.workers)]
        while self._stopped_by is None:
            wait([worker.process.sentinel for worker in self._workers], timeout=_TICK)
            if self._reloads:
                self._reloads = False
                self._replace_all()
            self._replace_dead()
        # Kept open here, they would go on taking connections that nobody accepts.
        for listener in self._listeners:
            listener.close()
        for worker in self._workers:
            self._stop(worker)
        for worker in self._workers:
            worker.process.join()
        ends = {worker.process.exitcode for worker in self._workers}
        return int(bool({STARTUP_FAILURE, -signal.SIGKILL} & ends))

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self._reloads = True
        elif self._stopped_by is None:
            self._stopped_by = number
        else:
            for worker in self._workers:
                worker.process.kill()

    def _start(self) -> _Worker:
        context = get_context("spawn")
        ready, worker_s = context.Pipe(duplex=False)  # an Event would need /dev/shm
        process = context.Process(target=_work, args=(self._config, self._listeners, worker_s))
        process.start()
        return _Worker(process, ready)

    def _stop(self, worker: _Worker) -> None:
        if worker.process.pid and worker.process.is_alive():
            os.kill(worker.process.pid, self._stopped_by or signal.SIGTERM)

    def _replace_dead(self) -> None:
        for place, worker in enumerate(self._workers):
            if worker.process.is_alive() or self._stopped_by is not None:
                continue
            if worker.process.exitcode == STARTUP_FAILURE:
                log.error("a worker could not start: the service stops")
                self._stopped_by = signal.SIGTERM
                return
            log.error("a worker died, and is replaced")
            self._workers[place] = self._start()

    def _replace_all(self) -> None:
        for place, old in enumerate(self._workers):
            new = self._start()
            serves = False
            while new.process.is_alive() and self._stopped_by is None and not serves:
                serves = new.serves(_TICK)
            if not serves:
                log.error("the successor of a worker does not serve: the others stay")
                self._stop(new)
                new.process.join()
                return
            self._workers[place] = new
            self._stop(old)
            old.process.join()


def _work(config: uvicorn.Config, listeners: Sequence[socket.socket], ready: Connection) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a terminal sends it to its supervisor as well
    sys.exit(_serve(config, listeners, ready))
