"""Running `gatepost` in processes of its own, each in an environment of its own."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.secrecy import ASYNC_HOOKS, HOOKS, SECRECY

ROOT = Path(__file__).parents[2]
TIME_BUDGET = 20.0
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
    process: "subprocess.Popen[bytes]"
    log: Path
    """What it has written to stderr."""

    place: "Place"

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=TIME_BUDGET, event_hooks=HOOKS)

    def async_client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, timeout=TIME_BUDGET, event_hooks=ASYNC_HOOKS)

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
import json, os, signal, sys, traceback
import cli

for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if child == 0:
        signal.alarm(order["seconds"])
        for number, path in enumerate(order["streams"]):
            os.dup2(os.open(path, os.O_RDWR), number)
        sys.stdin = open(0, newline="\\n")
        os.environ.clear()
        os.environ.update(order["environment"])
        os.chdir(order["directory"])
        sys.argv = ["gatepost", *order["arguments"]]
        status = 1
        try:
            cli.main()
            status = 0
        except SystemExit as end:
            status = end.code or 0
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)  # taking the interpreter down costs far more than the command
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Launcher:
    """Runs commands in forks of one process: most of what a command costs is importing."""

    def __enter__(self) -> "Launcher":
        self._process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCHER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": str(ROOT)},
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=TIME_BUDGET)

    def run(
        self, arguments: Sequence[str], given: str, directory: Path, environment: dict[str, str]
    ) -> Done:
        with tempfile.TemporaryDirectory() as streams:
            files = [Path(streams, name) for name in ("stdin", "stdout", "stderr")]
            for file, text in zip(files, (given, "", ""), strict=True):
                file.write_bytes(text.encode())
            order = {
                "arguments": arguments,
                "streams": [str(file) for file in files],
                "directory": str(directory),
                "environment": environment,
                "seconds": int(TIME_BUDGET),
            }
            assert self._process.stdin
            assert self._process.stdout
            self._process.stdin.write(f"{json.dumps(order)}\n")
            self._process.stdin.flush()
            status = int(self._process.stdout.readline())
            return Done(status, files[1].read_text(), files[2].read_text())


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
            process = subprocess.Popen(
                [*self.within, *COMMAND, "serve", "--port", str(port), *arguments],
                stdout=subprocess.PIPE,
                stderr=stderr,
                cwd=self.directory,
                env=self.environment(),
            )
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

    def environment(self) -> dict[str, str]:
        given = {"DATABASE_URL": self.database_url} | self.settings
        SECRECY.keep_settings(given)
        settings = {f"GATEPOST_{name}": value for name, value in given.items()}
        ours = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "COLUMNS": "80"}
        return ours | self.variables | settings


def _announced_url(process: "subprocess.Popen[bytes]", log: Path) -> str:
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
