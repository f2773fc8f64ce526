"""The places in the queue for the hashing of passwords, and its threads."""

import asyncio
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest

from application.outages import HashingBusy
from application.ports.passwords import Requester
from infrastructure.hashing_queue import HashingQueue, hashing_threads

COST_12 = 0.24
"""Seconds that one password takes at bcrypt's cost 12."""


@pytest.fixture
def release() -> Iterator[Event]:
    """Work waits for this."""
    event = Event()
    yield event
    event.set()


def stranger(number: int) -> Requester:
    return Requester(f"203.0.113.{number}")


def known(number: int) -> Requester:
    return Requester(f"192.0.2.{number}", is_known=True)


class Attempts:
    """Work for a queue that is never done before `release` is set."""

    def __init__(self, queue: HashingQueue, release: Event) -> None:
        self._queue = queue
        self._release = release
        self._tasks: list[asyncio.Task[bool]] = []

    async def accepted(self, *requesters: Requester) -> int:
        """How many of them have a place."""
        tasks = [
            asyncio.create_task(self._queue.run(self._release.wait, each)) for each in requesters
        ]
        await asyncio.sleep(0)
        self._tasks += [task for task in tasks if not task.done()]
        refused = [task.exception() for task in tasks if task.done()]
        assert all(isinstance(error, HashingBusy) for error in refused)
        return len(tasks) - len(refused)

    async def finish(self) -> None:
        self._release.set()
        assert all(await asyncio.gather(*self._tasks))
        self._release.clear()


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("seconds", [0.01, COST_12, 5.0])
async def test_strangers_from_sixty_networks_leave_a_place_for_a_known_requester(
    release: Event, threads: int, seconds: float
) -> None:
    attempts = Attempts(HashingQueue(threads=threads, seconds=seconds), release)

    assert await attempts.accepted(*map(stranger, range(60))) >= 1
    while await attempts.accepted(*map(stranger, range(60))):
        pass

    assert await attempts.accepted(stranger(60)) == 0
    assert await attempts.accepted(known(1)) == 1
    await attempts.finish()


async def test_a_third_of_the_places_is_reserved(release: Event) -> None:
    attempts = Attempts(HashingQueue(threads=4, seconds=COST_12), release)

    assert await attempts.accepted(*map(stranger, range(60))) == 8
    assert await attempts.accepted(*map(known, range(60))) == 3
    await attempts.finish()


@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize("threads", [1, 4])
async def test_no_network_fills_the_queue(release: Event, threads: int, is_known: bool) -> None:
    attempts = Attempts(HashingQueue(threads=threads, seconds=COST_12), release)
    places = {1: 3, 4: 11}[threads]

    greedy = await attempts.accepted(*[Requester("198.51.100.1", is_known)] * 60)

    assert greedy == (places + 1) // 2
    assert await attempts.accepted(*map(known, range(60))) == places - greedy
    await attempts.finish()


async def test_finished_work_frees_its_place(release: Event) -> None:
    queue = HashingQueue(threads=1, seconds=COST_12)
    attempts = Attempts(queue, release)

    for _ in range(3):
        first = await attempts.accepted(*[stranger(1)] * 60)
        assert first >= 1
        await attempts.finish()

    assert queue.waiting == 0
    assert queue.refused > 0


async def test_cancelled_work_frees_its_place(release: Event) -> None:
    queue = HashingQueue(threads=1, seconds=0.01)
    running = asyncio.create_task(queue.run(release.wait, stranger(1)))
    waiting = [asyncio.create_task(queue.run(release.wait, stranger(1))) for _ in range(20)]
    await asyncio.sleep(0)
    assert queue.waiting == 20

    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await asyncio.sleep(0)

    assert queue.waiting == 0
    release.set()
    assert await running


async def test_failed_work_frees_its_place(release: Event) -> None:
    queue = HashingQueue(threads=1, seconds=COST_12)

    for _ in range(10):
        with pytest.raises(ZeroDivisionError):
            await queue.run(lambda: 1 // 0, stranger(1))


def container(root: Path, groups: str, **quotas: str) -> Path:
    """A file system with `cpu.max` in the named groups; "_" is the one at the top."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(groups)
    for group, quota in quotas.items():
        directory = root / "sys/fs/cgroup" / group.strip("_").replace("_", "/")
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "cpu.max").write_text(quota + "\n")
    return root


@pytest.mark.parametrize(
    ("groups", "quotas", "threads"),
    [
        ("0::/\n", {}, 8),
        ("0::/\n", {"_": "max 100000"}, 8),
        ("0::/\n", {"_": "400000 100000"}, 2),
        ("0::/\n", {"_": "50000 100000"}, 1),
        ("0::/\n", {"_": "6400000 100000"}, 8),
        ("0::/pod/app\n", {"pod": "600000 100000", "pod_app": "max 100000"}, 3),
        ("0::/pod/app\n", {"pod": "800000 100000", "pod_app": "400000 100000"}, 2),
        ("12:cpu:/\n1:name=systemd:/\n", {}, 8),
        ("", {}, 8),
    ],
)
def test_threads_are_half_of_the_cores_that_the_container_may_use(
    tmp_path: Path, groups: str, quotas: dict[str, str], threads: int
) -> None:
    root = container(tmp_path, groups, **quotas)

    assert hashing_threads(root=root, environment={}, cpus=16) == threads


def test_without_control_groups_the_cpus_of_the_machine_count(tmp_path: Path) -> None:
    assert hashing_threads(root=tmp_path, environment={}, cpus=6) == 3


@pytest.mark.parametrize(
    ("workers", "threads"), [("1", 8), ("2", 4), ("3", 2), ("32", 1), ("0", 8), ("x", 8), ("", 8)]
)
def test_workers_share_the_threads(tmp_path: Path, workers: str, threads: int) -> None:
    environment = {"WEB_CONCURRENCY": workers}

    assert hashing_threads(root=tmp_path, environment=environment, cpus=16) == threads


@pytest.mark.skipif(sys.platform != "linux", reason="a thread has no priority of its own")
async def test_hashing_leaves_the_better_part_of_a_core_to_requests() -> None:
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    queue = HashingQueue(threads=1, seconds=COST_12)

    assert await queue.run(niceness, known(1)) == min(19, niceness() + 4)
