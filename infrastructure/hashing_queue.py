"""The queue in front of bcrypt: its threads, and the share of its places that a requester has."""

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import TypeVar

from application.ports.adapter import Reading
from application.ports.passwords import Requester
from domain.errors import Unavailable

_TIME_BUDGET = 0.6
"""Seconds. Work that would wait for longer is refused at once."""

T = TypeVar("T")


class HashingBusy(Unavailable):
    detail = "Too many passwords are being checked at the moment"


class HashingQueue:
    """Runs work that takes a whole core in `threads`.

    The queue has as many places as are worked off within the time budget, and two at least. A
    network has half of them. Requesters who are not known have two thirds, so a known one never
    waits for strangers alone, however many networks they come from.
    `seconds` is how long a piece of work takes, until the first one has been measured.
    """

    def __init__(self, *, threads: int, seconds: float) -> None:
        self._executor = ThreadPoolExecutor(threads, "bcrypt")
        self._threads = threads
        self._seconds = seconds
        self._unfinished = 0
        self._strangers = 0
        self._networks: Counter[str] = Counter()
        self.refused = 0
        """How often `HashingBusy` was raised."""

    @property
    def waiting(self) -> int:
        """Pieces of work that wait for a thread."""
        return max(0, self._unfinished - self._threads)

    def readings(self) -> Sequence[Reading]:
        return (
            Reading(
                "counter",
                "gatepost_hashing_refused_total",
                "Passwords that were not checked, because too many others waited",
                lambda: self.refused,
            ),
            Reading(
                "gauge",
                "gatepost_hashing_waiting",
                "Passwords that wait for a thread to hash them",
                lambda: self.waiting,
            ),
        )

    async def run(self, work: Callable[[], T], requester: Requester) -> T:
        """What `work` returns. Raises `HashingBusy` when the requester's places are taken."""
        if not self._has_place(requester):
            self.refused += 1
            raise HashingBusy
        future = asyncio.get_running_loop().run_in_executor(self._executor, self._timed, work)
        self._count(requester, 1)
        future.add_done_callback(lambda _: self._count(requester, -1))
        return await future

    def _has_place(self, requester: Requester) -> bool:
        places = max(2, 1 + int(_TIME_BUDGET * self._threads / self._seconds))
        kept = max(1, places // 3)
        return (
            self._unfinished < places
            and self._networks[requester.network] < (places + 1) // 2
            and (requester.is_known or self._strangers < places - kept)
        )

    def _count(self, requester: Requester, change: int) -> None:
        self._unfinished += change
        self._strangers += 0 if requester.is_known else change
        self._networks[requester.network] += change
        if not self._networks[requester.network]:
            del self._networks[requester.network]

    def _timed(self, work: Callable[[], T]) -> T:
        start = perf_counter()
        try:
            return work()
        finally:
            self._seconds = perf_counter() - start


def hashing_threads(
    *, root: Path = Path("/"), environment: Mapping[str, str] = os.environ, cpus: int | None = None
) -> int:
    """Threads for the queue of one worker: half of the CPUs that the service may use, divided by
    its workers (`WEB_CONCURRENCY`), and one at least. bcrypt takes a whole core and releases the
    interpreter's lock; the other half of the cores serves requests.
    """
    usable = min(cpus or len(os.sched_getaffinity(0)), _cpu_quota(root))
    workers = environment.get("WEB_CONCURRENCY", "")
    return max(1, int(usable / 2 / max(1, int(workers) if workers.isdecimal() else 1)))


def _cpu_quota(root: Path) -> float:
    """CPUs that the container's control groups allow (`cpu.max`, cgroup v2); infinity without."""
    quotas = [float("inf")]
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return quotas[0]
    path = next((Path(line[3:]) for line in groups if line.startswith("0::")), Path("/"))
    # A limit on a parent applies too.
    for group in (path, *path.parents):
        try:
            text = (root / "sys/fs/cgroup" / group.relative_to("/") / "cpu.max").read_text()
        except OSError:
            continue
        quota, _, period = text.partition(" ")
        if quota != "max":
            quotas.append(int(quota) / int(period))
    return min(quotas)
