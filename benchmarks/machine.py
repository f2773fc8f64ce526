"""Processes on chosen cores, and what they cost: CPU time and memory as Linux counts them."""

import os
import platform
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

TICK = 1 / os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
START_TIMEOUT = 60.0


@dataclass(frozen=True, kw_only=True)
class Cores:
    """Where things run, in the notation of `taskset`.

    The server under test has one core to itself. The load generator has another, and PostgreSQL the
    rest or, on two cores, the load generator's: so neither takes time from the server.
    """

    server: str
    load: str
    postgres: str

    @classmethod
    def of_this_machine(cls, postgres: str = "auto") -> "Cores":
        """`postgres`: `auto` as above, `load`, `server`, `all`, or the cores, parted by commas."""
        available = sorted(os.sched_getaffinity(0))
        if len(available) < 2:
            raise SystemExit("The bench needs two cores: one for the server, one for the load.")
        server, load, *rest = map(str, available)
        places = {
            "auto": ",".join(rest) or load,
            "load": load,
            "server": server,
            "all": ",".join(map(str, available)),
        }
        return cls(server=server, load=load, postgres=places.get(postgres, postgres))


def describe() -> str:
    """The machine in a line."""
    cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in cpuinfo if "model name" in line), "?")
    memory = os.sysconf("SC_PHYS_PAGES") * PAGE / 2**30
    return f"{os.cpu_count()} x {model}, {memory:.0f} GB, Linux {platform.release()}"


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@dataclass(frozen=True)
class Server:
    """A running server under test."""

    pid: int
    url: str

    def cpu_seconds(self) -> float:
        """User and system time so far, of the process, its threads and its children."""
        return sum(_cpu_ticks(pid) for pid in _family(self.pid)) * TICK

    def resident_bytes(self) -> int:
        """Memory in use (RSS), of the process and its children."""
        pages = (Path(f"/proc/{pid}/statm").read_text().split()[1] for pid in _family(self.pid))
        return sum(map(int, pages)) * PAGE


@contextmanager
def running_server(
    name: str,
    command: Sequence[str],
    *,
    port: int,
    env: Mapping[str, str],
    core: str,
    scratch: Path,
) -> Iterator[Server]:
    """Run `command` on `core`, and wait until it answers; its output goes into `scratch`."""
    log = scratch / f"{name}.log"
    url = f"http://127.0.0.1:{port}"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["taskset", "-c", core, *command],
            env={**os.environ, **env},
            cwd=scratch,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_for(name, process, url, log)
        yield Server(process.pid, url)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(name: str, process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while process.poll() is None and time.monotonic() < deadline:
        try:
            httpx.get(f"{url}/users/me", timeout=5)
            return
        except httpx.TransportError:
            time.sleep(0.1)
    raise SystemExit(f"{name} did not start:\n{log.read_text()[-2000:]}")


def _family(pid: int) -> Iterator[int]:
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from _family(int(child))


def _cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15]))
