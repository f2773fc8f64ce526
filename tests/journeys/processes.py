"""Running `gatepost` in processes of its own, each in an environment of its own."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
PATIENCE = 20.0
"""Seconds for any one thing to happen, on a busy machine."""

on_both_databases = pytest.mark.parametrize("place", ["sqlite", "postgresql"], indirect=True)

_SCRIPT = Path(sys.executable).with_name("gatepost")
COMMAND = [str(_SCRIPT)] if _SCRIPT.exists() else [sys.executable, "-c", "import cli; cli.main()"]


@dataclass(frozen=True)
class Service:
    """A service that answers."""

    url: str
    process: "subprocess.Popen[bytes]"
    log: Path
    """What it has written to stderr."""

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=PATIENCE)

    def wait_for_line(self, *parts: str) -> str:
        """The first line of the log with all the parts; it may be a moment behind."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for line in self.log.read_text().splitlines():
                if all(part in line for part in parts):
                    return line
            time.sleep(0.01)
        pytest.fail(f"no line with {parts} in:\n{self.log.read_text()}")

    def stop(self) -> None:
        """Ask it to stop, as a service manager does, and see that it does so in good order."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(PATIENCE)
        log = self.log.read_text()
        assert status == 0, log
        assert "Traceback" not in log


@dataclass
class Place:
    """A directory and the settings of what runs in it; nothing of the user's own gets in."""

    directory: Path
    database_url: str
    settings: dict[str, str] = field(default_factory=lambda: {"BCRYPT_COST": "4"})
    """By name, without the prefix."""

    def run(self, *arguments: str, given: str = "") -> "subprocess.CompletedProcess[str]":
        """Run the command to its end with `given` as its input."""
        return subprocess.run(
            [*COMMAND, *arguments],
            input=given,
            check=False,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            cwd=self.directory,
            env=self._environment(),
        )

    def refusal(self, *arguments: str, given: str = "") -> str:
        """What the command says when it can't do its work: one line on stderr, exit status 1."""
        (line,) = self.refusals(*arguments, given=given)
        return line

    def refusals(self, *arguments: str, given: str = "") -> Sequence[str]:
        done = self.run(*arguments, given=given)
        assert done.returncode == 1, done.stdout + done.stderr
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
                [*COMMAND, "serve", "--port", str(port), *arguments],
                stdout=subprocess.PIPE,
                stderr=stderr,
                cwd=self.directory,
                env=self._environment(),
            )
        try:
            service = Service(_announced_url(process, log), process, log)
            _wait_until_ready(service)
            yield service
            if process.poll() is None:
                service.stop()
        finally:
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()

    def _environment(self) -> dict[str, str]:
        given = {"DATABASE_URL": self.database_url} | self.settings
        settings = {f"GATEPOST_{name}": value for name, value in given.items()}
        return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "COLUMNS": "80"} | settings


def _announced_url(process: "subprocess.Popen[bytes]", log: Path) -> str:
    assert process.stdout
    first = process.stdout.readline().decode()
    found = re.fullmatch(r"Gatepost serves (http://\S+)\n", first)
    assert found, f"{first}{log.read_text()}"
    second = process.stdout.readline().decode()
    assert second == f"Try it out at {found[1]}/docs\n"
    return found[1]


def _wait_until_ready(service: Service) -> None:
    deadline = time.monotonic() + PATIENCE
    with service.client() as client:
        while time.monotonic() < deadline:
            try:
                if client.get("/health/ready").status_code == 200:
                    return
            except httpx.TransportError:
                assert service.process.poll() is None, service.log.read_text()
            time.sleep(0.01)
    pytest.fail(f"not ready:\n{service.log.read_text()}")
