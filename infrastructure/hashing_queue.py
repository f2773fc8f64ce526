"""The queue of password hashing: its threads, and the share of each requester."""

import asyncio
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import TypeVar

from application.outages import HashingBusy
from application.ports.adapter import Reading
from application.ports.passwords import Requester

_TIME_BUDGET = 0.6
"""Maximum wait in seconds. Work that would wait longer is refused at once."""

_NICENESS = 4
"""How much nicer than the other threads those that hash are. Where requests could use the whole of
a core, they keep 1024 / (1024 + 423) of it, by Linux's weights.
"""

T = TypeVar("T")


class HashingQueue:
    """Runs CPU-bound work in `threads`.

    The queue has as many places as can be finished within the time budget, and at least two. One
    network gets at most half of them. All unknown requesters together get at most two thirds, so
    strangers alone never keep a known requester out, however many networks they come from.

    `seconds` is the estimated duration of one piece of work, until the first one is measured.
    """

    def __init__(self, *, threads: int, seconds: float) -> None:
        self._executor = ThreadPoolExecutor(threads, "bcrypt", initializer=_lower_priority)
        self._threads = threads
        self._seconds = seconds
        self._unfinished = 0
        self._strangers = 0
        self._networks: Counter[str] = Counter()
        self.refused = 0
        """Number of times that `HashingBusy` was raised."""

    @property
    def waiting(self) -> int:
        """Number of pieces of work that wait for a thread."""
        return max(0, self._unfinished - self._threads)

    def readings(self) -> Sequence[Reading]:
        return (
            Reading(
                "counter",
                "gatepost_hashing_refused_total",
                "Passwords that were not checked because the queue was full",
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
        """Run `work` and return its result. Raises `HashingBusy` without a free place."""
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


def _lower_priority() -> None:
    # A thread has a priority of its own on Linux. A sandbox may refuse the call.
    if sys.platform == "linux":
        with suppress(OSError):
            nicer = min(19, os.getpriority(os.PRIO_PROCESS, 0) + _NICENESS)
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nicer)


def hashing_threads(
    *, root: Path = Path("/"), environment: Mapping[str, str] = os.environ, cpus: int | None = None
) -> int:
    """The number of threads for one worker: half of the CPUs that the service may use, divided by
    the number of workers (`WEB_CONCURRENCY`), and at least one.

    bcrypt releases the GIL, so a thread uses a whole core. The other half serves requests.
    """
    usable = min(cpus or len(os.sched_getaffinity(0)), _cpu_quota(root))
    workers = environment.get("WEB_CONCURRENCY", "")
    return max(1, int(usable / 2 / max(1, int(workers) if workers.isdecimal() else 1)))


def _cpu_quota(root: Path) -> float:
    """The CPUs that the control groups allow (`cpu.max`, cgroup v2); infinity without a limit."""
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
