"""The time from the start of a process to its first answer: Gatepost beside an empty application.

Both import the same frameworks and are started in turns. Time of the processor is told as well,
which a busy machine disturbs less.

    .venv/bin/python benchmarks/start.py [--rounds 10]
"""

import argparse
import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
EMPTY = """
import sys, fastapi, sqlmodel, uvicorn
uvicorn.run(fastapi.FastAPI(), port=int(sys.argv[1]), log_level="critical")
"""
TARGET = 1.5


@dataclass
class Starter:
    name: str
    arguments: list[str]
    walls: list[float] = field(default_factory=list)
    cpus: list[float] = field(default_factory=list)

    def start(self, directory: str) -> None:
        """Start it once, wait for its first answer, and end it."""
        port = free_port()
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
        environment["GATEPOST_DATABASE_URL"] = f"sqlite:///{directory}/gatepost.db"
        begin = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *self.arguments, str(port)],
            cwd=directory,
            env=environment,
            stdout=subprocess.DEVNULL,
        )
        wait_for_an_answer(port)
        self.walls.append(time.perf_counter() - begin)
        process.send_signal(signal.SIGKILL)
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = -signal.SIGKILL
        self.cpus.append(usage.ru_utime + usage.ru_stime)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_an_answer(port: int) -> None:
    for _ in range(10_000):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        try:
            connection.request("GET", "/health/live")
            connection.getresponse()
        except OSError:
            time.sleep(0.005)
        else:
            return
        finally:
            connection.close()
    sys.exit("no answer")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    serve = "import sys, start; sys.argv[1:1] = ['serve', '--port']; start.main()"
    empty = Starter("fastapi, sqlmodel, uvicorn, an empty application", ["-c", EMPTY])
    ours = Starter("gatepost serve", ["-c", serve])
    with tempfile.TemporaryDirectory() as directory:
        for starter in (empty, ours):  # compiles, and makes the database
            starter.start(directory)
            starter.walls.clear()
            starter.cpus.clear()
        for _ in range(rounds):
            empty.start(directory)
            ours.start(directory)
    for starter in (empty, ours):
        wall, cpu = median(starter.walls), median(starter.cpus)
        print(f"{starter.name:50} {wall * 1000:6.0f} ms, {cpu * 1000:6.0f} ms of the processor")
    walls = median(b / a for a, b in zip(empty.walls, ours.walls, strict=True))
    cpus = min(ours.cpus) / min(empty.cpus)
    verdict = "" if walls <= TARGET else " **missed**"
    print(f"{'ratio, of at most 1.5':50} {walls:6.2f}{verdict}, {cpus:.2f} of the processor")


if __name__ == "__main__":
    main()
