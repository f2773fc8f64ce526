"""Metrics of the adapters, and one exposition for all workers.

Adapters count in plain integers, which is cheap and independent of metrics. Workers share their
metrics in files (prometheus_client's multiprocess mode). A counter is summed over all processes
that ever ran and a gauge over all live ones; a shared gauge is the maximum over the live ones.
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
"""Maximum age of another worker's values, in seconds."""


@contextmanager
def shared_metrics() -> Iterator[None]:
    """Processes that are started in this context share their metrics."""
    with TemporaryDirectory(prefix="gatepost-metrics-") as directory:
        os.environ[_DIRECTORY] = directory
        try:
            yield
        finally:
            del os.environ[_DIRECTORY]


class Metrics:
    """The metrics of this process and, in `shared_metrics`, of all workers.

    `readings` come from the `readings()` of the adapters.
    """

    def __init__(self, readings: Iterable[Reading]) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        """For further metrics."""
        self._counters: list[tuple[Counter, Callable[[], int]]] = []
        self._gauges: list[tuple[Gauge, Callable[[], int]]] = []
        self._counted: list[int] = []
        self._named: dict[str, Counter] = {}
        self.add(readings)

    def add(self, readings: Iterable[Reading]) -> None:
        """Add a metric for each reading."""
        for each in readings:
            if each.kind == "counter":
                counter = self._named.get(each.name) or Counter(
                    each.name, each.text, each.labels, registry=self.registry
                )
                self._named[each.name] = counter
                labelled = counter.labels(**each.labels) if each.labels else counter
                self._counters.append((labelled, each.read))
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
        """All metrics in the format that the header Accept asks for, and its media type."""
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
        """Copy the adapters' values into the metrics."""
        for index, (counter, read) in enumerate(self._counters):
            now = read()
            counter.inc(now - self._counted[index])
            self._counted[index] = now
        for gauge, read in self._gauges:
            gauge.set(read())

    async def read_forever(self) -> NoReturn:
        """Call `read` regularly, because another worker may serve the exposition."""
        while True:
            self.read()
            await asyncio.sleep(_PAUSE)


def _forget_dead_workers(directory: Path) -> None:
    """Remove the gauges of processes that no longer exist, however they ended."""
    for file in directory.glob("gauge_live*.db"):
        pid = int(file.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            with suppress(FileNotFoundError):  # another worker has removed it
                mark_process_dead(pid, str(directory))  # type: ignore[no-untyped-call]
        except PermissionError:  # the pid now belongs to a process of another user
            mark_process_dead(pid, str(directory))  # type: ignore[no-untyped-call]
