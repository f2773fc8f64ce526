"""Running `gatepost` in processes of its own, each in an environment of its own."""

import itertools
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import httpx
import pytest

from tests.secrecy import ASYNC_HOOKS, HOOKS, SECRECY

ROOT = Path(__file__).parents[2]
TIME_BUDGET = 60.0
"""Seconds for any one thing to happen, on a busy machine."""

on_both_databases = pytest.mark.parametrize("kind", ["sqlite", "postgresql"], indirect=True)

_SCRIPT = Path(sys.executable).with_name("gatepost")
COMMAND = [str(_SCRIPT)] if _SCRIPT.exists() else [sys.executable, "-c", "import cli; cli.main()"]


@dataclass(frozen=True)
class Done:
    """A command that has come to its end."""

    status: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Service:
    """A service that answers."""

    url: str
    process: "Process | subprocess.Popen[bytes]"
    log: Path
    """What it has written to stderr."""

    place: "Place"

    def client(self) -> httpx.Client:
        # To load the certificates that no test verifies takes longer than most requests.
        return httpx.Client(base_url=self.url, timeout=TIME_BUDGET, event_hooks=HOOKS, verify=False)

    def async_client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self.url, timeout=TIME_BUDGET, event_hooks=ASYNC_HOOKS, verify=False
        )

    def worker(self) -> str:
        """A worker that serves, by the first part of its request ids. Which one, the kernel
        decides for each connection.
        """
        with self.client() as client:
            answer = client.get("/health/live")
        assert answer.status_code == 200
        return answer.headers["X-Request-ID"].partition("-")[0]

    def wait_for_line(self, *parts: str) -> str:
        """The first line of the log with all the parts; it may be a moment behind."""
        deadline = time.monotonic() + TIME_BUDGET
        while time.monotonic() < deadline:
            for line in self.log.read_text().splitlines():
                if all(part in line for part in parts):
                    return line
            time.sleep(0.01)
        pytest.fail(f"no line with {parts} in:\n{self.log.read_text()}")

    def stop(self) -> None:
        """Ask it to stop, as a service manager does, and see that it does so in good order."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(TIME_BUDGET)
        log = self.log.read_text()
        assert status == 0, log
        assert "Traceback" not in log


_LAUNCHER = """
import gc, json, os, select, signal, socket, sys, traceback
import alembic.command, asyncpg.connection, structlog.dev, uvicorn.lifespan.on
import infrastructure.server
import infrastructure.database.replica  # posts only
import checks, cli, main
from application.concepts import modules

modules("api")
gc.collect()
gc.freeze()  # as `start` does; else the first collection of each fork copies all its memory

orders = socket.socket(fileno=0)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
while True:
    order, files, _, _ = socket.recv_fds(orders, 65536, 4)
    if not order:
        break
    order, status = json.loads(order), files.pop()
    if os.fork():
        for file in (*files, status):
            os.close(file)
        continue
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    orders.close()
    child = os.fork()
    if child:
        for file in files:
            os.close(file)
        os.write(status, b"%d " % child)
        watched = select.poll()
        watched.register(status, 0)  # for when nobody reads it: the test run was killed
        watched.register(ended := os.pidfd_open(child), select.POLLIN)
        if ended not in dict(watched.poll()):
            os.kill(child, signal.SIGKILL)
        os.write(status, b"%d" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        os._exit(0)
    os.close(status)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    sys.stdin = open(0, newline="\\n")
    signal.alarm(order["seconds"])
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["directory"])
    sys.argv = ["gatepost", *order["arguments"]]
    code = 1
    try:
        cli.main()
        code = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # taking the interpreter down costs far more than most commands
"""


class Process:
    """A running `gatepost`, with what tests use of the interface of `subprocess.Popen`."""

    def __init__(self, status: int, stdout: IO[bytes] | None = None) -> None:
        self._status = status
        self.pid = int(self._read(TIME_BUDGET))
        self.stdout = stdout
        self.returncode: int | None = None

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float = TIME_BUDGET) -> int:
        if self.returncode is None:
            self.returncode = int(self._read(timeout))
            os.close(self._status)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _read(self, timeout: float) -> bytes:
        """The next number that the launcher writes."""
        if not select.select([self._status], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired("gatepost", timeout)
        read = iter(lambda: os.read(self._status, 1), b"")
        return b"".join(itertools.takewhile(lambda byte: byte != b" ", read))


class Launcher:
    """Runs `gatepost` in forks of one process: most of what a start costs is importing."""

    def __init__(
        self,
        within: Sequence[str] = (),
        *,
        directory: Path | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """`within` starts the process, in `directory` instead of in each place's, with `variables`
        in its environment.
        """
        self._within = within
        self._directory = directory
        self._variables = variables or {}

    def __enter__(self) -> "Launcher":
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [*self._within, sys.executable, "-c", _LAUNCHER],
                stdin=theirs.fileno(),
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **self._variables},
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._orders.close()
        self._process.wait(TIME_BUDGET)

    def start(
        self,
        arguments: Sequence[str],
        directory: Path,
        environment: Mapping[str, str],
        streams: Sequence[int],
        *,
        seconds: int = 0,
    ) -> int:
        """Start the command on three open files, to be killed after so many seconds if any.

        Returns the descriptor from which a `Process` is made.
        """
        order = {
            "arguments": arguments,
            "directory": str(self._directory or directory),
            "environment": environment,
            "seconds": seconds,
        }
        mine, theirs = os.pipe()
        socket.send_fds(self._orders, [json.dumps(order).encode()], [*streams, theirs])
        os.close(theirs)
        return mine

    def run(
        self, arguments: Sequence[str], given: str, directory: Path, environment: Mapping[str, str]
    ) -> Done:
        with ExitStack() as stack:
            files = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(3)]
            files[0].write(given.encode())
            files[0].seek(0)
            streams = [file.fileno() for file in files]
            budget = int(TIME_BUDGET)
            started = self.start(arguments, directory, environment, streams, seconds=budget)
            status = Process(started).wait(2 * TIME_BUDGET)
            for file in files[1:]:
                file.seek(0)
            return Done(status, *(file.read().decode() for file in files[1:]))


@dataclass
class Place:
    """A directory and the settings of what runs in it; nothing of the user's own gets in."""

    launcher: Launcher
    directory: Path
    database_url: str
    settings: dict[str, str] = field(
        default_factory=lambda: {"BCRYPT_COST": "4", "RATE_LIMITS": "off"}
    )
    """By name, without the prefix."""
    within: Sequence[str] = ()
    """What starts the service: `ip netns exec NAME`, say."""
    variables: dict[str, str] = field(default_factory=dict)
    """Of the environment, beside the settings."""

    def run(self, *arguments: str, given: str = "") -> Done:
        """Run the command to its end with `given` as its input."""
        done = self.launcher.run(arguments, given, self.directory, self.environment())
        if done.status == 0:  # else it is nobody's password, and may be any word
            SECRECY.keep(given.strip())
        SECRECY.keep_files(self.directory)
        SECRECY.logged(done.stderr)
        return done

    def refusal(self, *arguments: str, given: str = "") -> str:
        """What the command says when it can't do its work: one line on stderr, exit status 1."""
        (line,) = self.refusals(*arguments, given=given)
        return line

    def refusals(self, *arguments: str, given: str = "") -> Sequence[str]:
        done = self.run(*arguments, given=given)
        assert done.status == 1, done.stdout + done.stderr
        assert done.stdout == ""
        lines = done.stderr.splitlines()
        assert all(line.startswith("gatepost: ") for line in lines), done.stderr
        return [line.removeprefix("gatepost: ") for line in lines]

    @contextmanager
    def serving(self, *arguments: str, port: int = 0) -> Iterator[Service]:
        """Run `gatepost serve`, on a port that is free, for as long as the block lasts."""
        log = self.directory / f"serve-{len(list(self.directory.glob('serve-*')))}.log"
        with log.open("wb") as stderr:
            process = self._start(["serve", "--port", str(port), *arguments], stderr.fileno())
        try:
            service = Service(_announced_url(process, log), process, log, self)
            _wait_until_ready(service)
            yield service
            if process.poll() is None:
                service.stop()
        finally:
            process.kill()
            process.wait()
            SECRECY.keep_files(self.directory)
            SECRECY.logged(log.read_text())
            if process.stdout:
                # Of what is there: a worker that outlived its parent would never end it.
                os.set_blocking(process.stdout.fileno(), False)
                SECRECY.printed((process.stdout.read() or b"").decode())
                process.stdout.close()

    def _start(self, arguments: Sequence[str], stderr: int) -> "Process | subprocess.Popen[bytes]":
        if self.within:
            return subprocess.Popen(
                [*self.within, *COMMAND, *arguments],
                stdout=subprocess.PIPE,
                stderr=stderr,
                cwd=self.directory,
                env=self.environment(),
            )
        reader, writer = os.pipe()
        with Path(os.devnull).open() as stdin:
            streams = [stdin.fileno(), writer, stderr]
            started = self.launcher.start(arguments, self.directory, self.environment(), streams)
        os.close(writer)
        return Process(started, os.fdopen(reader, "rb"))

    def environment(self) -> dict[str, str]:
        given = {"DATABASE_URL": self.database_url} | self.settings
        SECRECY.keep_settings(given)
        settings = {f"GATEPOST_{name}": value for name, value in given.items()}
        ours = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "COLUMNS": "80"}
        return ours | self.variables | settings


def _announced_url(process: "Process | subprocess.Popen[bytes]", log: Path) -> str:
    assert process.stdout
    first = process.stdout.readline().decode()
    found = re.fullmatch(r"Gatepost serves (http://\S+)\n", first)
    assert found, f"{first}{log.read_text()}"
    second = process.stdout.readline().decode()
    assert second == f"Try it out at {found[1]}/docs\n"
    return found[1]


def _wait_until_ready(service: Service) -> None:
    deadline = time.monotonic() + TIME_BUDGET
    with service.client() as client:
        while time.monotonic() < deadline:
            try:
                if client.get("/health/ready").status_code == 200:
                    return
            except httpx.TransportError:
                assert service.process.poll() is None, service.log.read_text()
            time.sleep(0.01)
    pytest.fail(f"not ready:\n{service.log.read_text()}")
