"""Machines of the tests' own: network namespaces, each with an address that the host can reach."""

import os
import random
import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tests.pgbouncer import wait_for
from tests.programs import missing, program

_BIND = re.compile(r"^ *bind( .*)$", re.MULTILINE)


@dataclass(frozen=True)
class Machine:
    """`host` is the address by which the machine reaches its host."""

    name: str
    address: str
    host: str

    @property
    def within(self) -> Sequence[str]:
        """What runs a command on the machine."""
        return [program("ip", package="iproute2"), "netns", "exec", self.name]

    def kill(self) -> None:
        """Kill -9 all that runs on it."""
        for process in ip("netns", "pids", self.name).split():
            os.kill(int(process), signal.SIGKILL)


def ip(*arguments: str) -> str:
    command = [program("ip", package="iproute2"), *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr}")
    return done.stdout


@contextmanager
def machine() -> Iterator[Machine]:
    """A machine for as long as the block lasts. Skips the test where there can't be one."""
    if os.geteuid() != 0:
        missing("network namespaces need root: run the tests as root")
    # Of the network for tests between machines (RFC 2544). A name has up to 15 characters.
    number = random.randrange(0, 2**17, 4)
    host, address = (
        f"198.{18 + n // 65536}.{n // 256 % 256}.{n % 256}" for n in (number + 1, number + 2)
    )
    name = f"gatepost{number}"
    try:
        ip("netns", "add", name)
    except RuntimeError as error:
        missing(f"no network namespaces here: {error}")
    it = Machine(name, address, host)
    try:
        ip("link", "add", f"gp{number}", "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("address", "add", f"{host}/30", "dev", f"gp{number}")
        ip("link", "set", f"gp{number}", "up")
        ip("-n", name, "address", "add", f"{address}/30", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        ip("-n", name, "link", "set", "lo", "up")
        yield it
    finally:
        it.kill()
        ip("netns", "delete", name)  # and the link, with its other end


@contextmanager
def haproxy(configuration: str) -> Iterator[None]:
    with subprocess.Popen(
        [program("haproxy"), "-q", "-db", "-f", "/dev/stdin"], stdin=subprocess.PIPE
    ) as process:
        assert process.stdin
        process.stdin.write(configuration.encode())
        process.stdin.close()
        try:
            for host, port in re.findall(
                r"[ ,]([\d.]*):(\d+)", " ".join(_BIND.findall(configuration))
            ):
                wait_for(int(port), host or "127.0.0.1")
            assert process.poll() is None
            yield
        finally:
            process.kill()
