"""What adapters count, and one answer of all workers for Prometheus.

Adapters keep plain integers, which cost next to nothing and are right whether or not anybody reads
them. Workers share what they count by files in a directory (prometheus_client's multiprocess mode):
a counter is the sum over all processes that there were, a gauge over those that live, and a shared
gauge the highest figure of those that live.
"""

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from application.ports.adapter import Reading

_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client reads it when it is imported
_PAUSE = 1.0
"""Seconds that the figures of another worker may be old."""


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
    """The metrics of this process and, within `shared_metrics`, of all its siblings.

    `readings` are what the adapters count, as their ports' `readings()` list it.
    """

    def __init__(self, readings: Iterable[Reading]) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        """For whoever counts more."""
        self._counters: list[tuple[Counter, Callable[[], int]]] = []
        self._gauges: list[tuple[Gauge, Callable[[], int]]] = []
        self._counted: list[int] = []
        self.add(readings)

    def add(self, readings: Iterable[Reading]) -> None:
        """Show these readings too."""
        for each in readings:
            if each.kind == "counter":
                counter = Counter(each.name, each.text, registry=self.registry)
                self._counters.append((counter, each.read))
                self._counted.append(0)
            else:
                gauge = Gauge(
                    each.name,
                    each.text,
                    registry=self.registry,
                    multiprocess_mode="livesum" if each.kind == "gauge" else "livemax",
                )
                self._gauges.append((gauge, each.read))

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
        """Copy what the adapters counted into the metrics."""
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
