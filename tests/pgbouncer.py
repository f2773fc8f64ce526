"""A real pgbouncer for the tests, where there is one: in CI it is Debian's."""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import create_connection
from urllib.parse import urlsplit

from tests.postgres import UNPRIVILEGED, free_port
from tests.programs import program

TIMEOUT = 10.0  # seconds for a start


@contextmanager
def running_pgbouncer(url: str, *, pool: int) -> Iterator[str]:
    """The URL of the database at `url` by a pgbouncer in transaction mode, which has at the most
    `pool` connections to the server.
    """
    server, port = urlsplit(url), free_port()
    name = server.path.lstrip("/")
    with tempfile.TemporaryDirectory(prefix="gatepost-") as directory:
        configuration = Path(directory, "pgbouncer.ini")
        configuration.write_text(
            f"""\
[databases]
{name} = host={server.hostname} port={server.port} user={server.username}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {pool}
"""
        )
        user = None
        if os.geteuid() == 0:  # whom it refuses to serve
            user = UNPRIVILEGED
            Path(directory).chmod(0o755)
        process = subprocess.Popen(
            [program("pgbouncer"), "--quiet", configuration], user=user, start_new_session=True
        )
        try:
            wait_for(port)
            yield url.replace(f":{server.port}/", f":{port}/")
        finally:
            process.terminate()
            process.wait(TIMEOUT)


def wait_for(port: int, host: str = "127.0.0.1") -> None:
    """Wait until somebody listens."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        with suppress(OSError), create_connection((host, port), timeout=1):
            return
        time.sleep(0.01)
    raise RuntimeError(f"nobody listens on port {port}")
