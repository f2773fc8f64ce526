"""What adapters count, and one answer of all workers for Prometheus.

Adapters keep plain integers, which cost next to nothing and are right whether or not anybody reads
them. Workers share what they count by files in a directory (prometheus_client's multiprocess mode):
a counter is the sum over all processes that there were, a gauge over those that live.
"""

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from application.ports.passwords import Passwords
from infrastructure.database.driver.lookups import BATCHES
from infrastructure.database.driver.postgresql import PostgresDatabase
from infrastructure.database.driver.statements import Database
from infrastructure.logs import Logs
from infrastructure.passwords import BcryptPasswords

_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client reads it when it is imported
_PAUSE = 1.0
"""Seconds that the figures of another worker may be old."""

Reading = tuple[str, Callable[[], int]]
"""What it is, for people, and how to read it."""


@contextmanager
def shared_metrics() -> Iterator[None]:
    """The processes that are started within count together."""
    with TemporaryDirectory(prefix="gatepost-metrics-") as directory:
        os.environ[_DIRECTORY] = directory
        try:
            yield
        finally:
            del os.environ[_DIRECTORY]


class Metrics:
    """The metrics of this process and, within `shared_metrics`, of all its siblings."""

    def __init__(self, *, counters: Mapping[str, Reading], gauges: Mapping[str, Reading]) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        """For whoever counts more."""
        self._counters = [
            (Counter(name, text, registry=self.registry), read)
            for name, (text, read) in counters.items()
        ]
        self._gauges = [
            (Gauge(name, text, registry=self.registry, multiprocess_mode="livesum"), read)
            for name, (text, read) in gauges.items()
        ]
        self._counted = [0] * len(self._counters)

    async def exposition(self, accept: str) -> tuple[bytes, str]:
        """All metrics in the form that an Accept header asks for, and the form's media type."""
        self.read()
        return await asyncio.to_thread(self._exposition, accept)

    def _exposition(self, accept: str) -> tuple[bytes, str]:
        encode, media_type = choose_encoder(accept)
        registry = self.registry
        if directory := os.environ.get(_DIRECTORY):
            registry = CollectorRegistry()
            _forget_dead_workers(Path(directory))
            MultiProcessCollector(registry, directory)  # type: ignore[no-untyped-call]
        return encode(registry), media_type

    def read(self) -> None:
        """Bring the metrics up to what the adapters tell."""
        for index, (counter, read) in enumerate(self._counters):
            now = read()
            counter.inc(now - self._counted[index])
            self._counted[index] = now
        for gauge, read in self._gauges:
            gauge.set(read())

    async def read_forever(self) -> NoReturn:
        """For the worker that is asked next, which may be another one."""
        while True:
            self.read()
            await asyncio.sleep(_PAUSE)


def build_metrics(*, logs: Logs, passwords: Passwords, database: Database) -> Metrics:
    counters: dict[str, Reading] = {
        "gatepost_log_lines_dropped_total": (
            "Log lines that could not be written, or not in time",
            lambda: logs.dropped,
        ),
    }
    gauges: dict[str, Reading] = {}
    if isinstance(passwords, BcryptPasswords):
        counters["gatepost_hashing_refused_total"] = (
            "Passwords that were not looked at, because too many others waited",
            lambda: passwords.refused,
        )
        gauges["gatepost_hashing_waiting"] = (
            "Passwords that wait for a thread to hash them",
            lambda: passwords.waiting,
        )
    if isinstance(database, PostgresDatabase):
        pool = database.pool
        counters["gatepost_lookup_queries_total"] = (
            "Queries that looked records up by their keys",
            lambda: BATCHES.queries,
        )
        counters["gatepost_lookup_keys_total"] = (
            "Keys that were looked up by these queries",
            lambda: BATCHES.keys,
        )
        gauges["gatepost_database_connections_max"] = (
            "Connections that there may be",
            lambda: pool.size,
        )
        gauges["gatepost_database_connections_in_use"] = (
            "Connections that are at work",
            lambda: pool.in_use,
        )
        gauges["gatepost_database_connections_waiting"] = (
            "Requests that wait for a connection",
            lambda: pool.waiting,
        )
    return Metrics(counters=counters, gauges=gauges)


def _forget_dead_workers(directory: Path) -> None:
    """Whatever killed them, and without anybody who has to notice."""
    for file in directory.glob("gauge_live*.db"):
        pid = int(file.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            with suppress(FileNotFoundError):  # another worker was faster
                mark_process_dead(pid, str(directory))  # type: ignore[no-untyped-call]
        except PermissionError:  # another user's process has the number now
            mark_process_dead(pid, str(directory))  # type: ignore[no-untyped-call]
