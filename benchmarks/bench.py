"""What every script of the bench begins with: PostgreSQL, the load generator, scratch files."""

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from load import Load
from machine import Cores
from postgres import Postgres, postgres_on


@dataclass(frozen=True)
class Bench:
    """What a contender is run with."""

    cores: Cores
    postgres: Postgres
    load: Load
    scratch: Path


@contextmanager
def running_bench(*, postgres_cores: str = "auto", fsync: bool = True) -> Iterator[Bench]:
    """Everything for a run, gone when the block ends; this process leaves the servers' core."""
    cores = Cores.of_this_machine(postgres_cores)
    os.sched_setaffinity(0, {int(cores.load)})
    with tempfile.TemporaryDirectory(prefix="gatepost-bench-") as directory:
        scratch = Path(directory)
        load = Load(cores, scratch)
        with postgres_on(cores.postgres, fsync=fsync) as postgres:
            yield Bench(cores, postgres, load, scratch)


def say(text: str) -> None:
    """Progress, on stderr."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)
