"""Does anything grow while the service is used in every way at once?

    python benchmarks/endurance.py [--minutes 30] [--visitors 16]

Two workers on PostgreSQL; `visitors.py` is the load: logins, refreshes, reads, writes, votes,
searches, bad requests, aborted connections. The limits are on, though wide, since they remember
things too. What visitors write they delete, and once a minute the script deletes what the service
keeps as a record, so that the database stays the size that it is.

Prints a line a minute: answers a second, p99, and of each worker its memory (RSS), open files and
threads, and the connections at the database. A straight line is fitted over the second half of the
run, pools being filled in the first, to the memory of each worker and to the rest of both together.
Something grew when its line rises by more than 4 % of its mean, and by more than 2 MiB, or 3 files,
threads or connections. Some rise in memory is known: a worker remembers up to 10,000 verified
tokens, at 0.7 KB each. p99 is told and not judged: it is the machine's as much as the service's.

Exits with 1 when something grew, when a worker died, or when any request was answered as it should
not have been; a 503 may be, since hashing refuses what it has no time for.
"""

import environment

if __name__ == "__main__":
    environment.enter()

import argparse
import asyncio
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import Bench, running_bench, say
from contenders.gatepost import running_gatepost
from contenders.target import Target
from machine import PAGE
from visitors import Tally, Visitor

DATABASE = "endurance"
WORKERS = 2
POSTS = 10_000
SAMPLE_EVERY = 5.0
"""Seconds."""
GROWTH = 0.04
AT_LEAST = {"MiB": 2.0, "files": 3.0, "threads": 3.0, "connections": 3.0}
LIMITS = (
    *("LOGINS", "LOGIN_FAILURES", "ACCOUNT_FAILURES", "REFRESHES"),
    *("REGISTRATIONS", "RESETS", "ACCOUNT_RESETS", "WRITES"),
)
SETTINGS = {"RATE_LIMITS": "on"} | {f"LIMIT_{name}": "1000000/minute" for name in LIMITS}
TIDY = (
    "DELETE FROM events",
    "DELETE FROM sessions WHERE revoked_at IS NOT NULL",  # and what is known of their tokens
    "DELETE FROM idempotency_keys WHERE at < now() - interval '1 minute'",
    "DELETE FROM one_time_codes",
    "VACUUM",
)
CONNECTED = f"""SELECT count(*) FROM pg_stat_activity
    WHERE datname = '{DATABASE}' AND pid <> pg_backend_pid() AND backend_type = 'client backend'"""


@dataclass(frozen=True)
class Sample:
    """The service at one moment; what is of each worker is in the order of their pids."""

    at: float
    """Seconds since the load began."""
    sizes: Sequence[float]
    """MiB of resident memory."""
    files: Sequence[int]
    threads: Sequence[int]
    connections: int


class Endurance:
    def __init__(self, bench: Bench, target: Target) -> None:
        self._bench = bench
        self._target = target
        self.workers = workers_of(target.server.pid)
        self.samples: list[Sample] = []
        self.statuses: Counter[int] = Counter()
        self.wrong: Counter[str] = Counter()
        self.aborted = 0

    async def run(self, minutes: float, visitors: int) -> None:
        tally = Tally()
        url, posts = self._target.server.url, self._target.posts
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(Visitor(number, url, posts, tally).visit())
                for number in range(1, visitors + 1)
            ]
            started = time.monotonic()
            for minute in range(1, round(minutes) + 1):
                while (since := time.monotonic() - started) < minute * 60:
                    self.samples.append(await asyncio.to_thread(self._sample, since))
                    await asyncio.sleep(SAMPLE_EVERY)
                self._tell(minute, tally.empty())
                await asyncio.to_thread(self._tidy)
            for task in tasks:
                task.cancel()

    def _sample(self, since: float) -> Sample:
        if workers_of(self._target.server.pid) != self.workers:
            sys.exit("A worker died.")
        places = [Path(f"/proc/{pid}") for pid in self.workers]
        return Sample(
            at=since,
            sizes=[int((p / "statm").read_text().split()[1]) * PAGE / 2**20 for p in places],
            files=[len(list((p / "fd").iterdir())) for p in places],
            threads=[len(list((p / "task").iterdir())) for p in places],
            connections=self._bench.postgres.execute(DATABASE, CONNECTED)[0][0],
        )

    def _tidy(self) -> None:
        for statement in TIDY:
            self._bench.postgres.execute(DATABASE, statement)

    def _tell(self, minute: int, tally: Tally) -> None:
        self.statuses += tally.statuses
        self.wrong += tally.wrong
        self.aborted += tally.aborted
        answers = sum(tally.statuses.values())
        p99 = statistics.quantiles(tally.seconds, n=100)[98] * 1000 if answers > 100 else 0
        last = self.samples[-1]
        sizes = " ".join(f"{size:8.1f}" for size in last.sizes)
        files = " ".join(f"{files:5}" for files in last.files)
        threads = " ".join(f"{threads:5}" for threads in last.threads)
        print(
            f"{minute:6} {answers / 60:9.0f} {p99:9.1f} {sizes} {files} {threads}"
            f" {last.connections:11}",
            flush=True,
        )

    def growths(self) -> list[tuple[str, float, float, float]]:
        """What was watched: its name, its mean and its rise over the second half, and how much of
        a rise is none.
        """
        half = [sample for sample in self.samples if sample.at >= self.samples[-1].at / 2]
        series = {
            "connections at the database": ("connections", [s.connections for s in half]),
            "open files of the workers": ("files", [sum(s.files) for s in half]),
            "threads of the workers": ("threads", [sum(s.threads) for s in half]),
        }
        for i in range(WORKERS):
            series[f"memory of worker {i + 1}, MiB"] = ("MiB", [s.sizes[i] for s in half])
        moments = [sample.at for sample in half]
        told = []
        for name, (unit, values) in series.items():
            mean = statistics.fmean(values)
            slope = statistics.linear_regression(moments, values).slope
            rise = slope * (moments[-1] - moments[0])
            told.append((name, mean, rise, max(GROWTH * mean, AT_LEAST[unit])))
        return told


def workers_of(supervisor: int) -> list[int]:
    """The pids of the processes that serve."""
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    return [
        int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=int, default=30)
    parser.add_argument("--visitors", type=int, default=16)
    chosen = parser.parse_args()
    with (
        running_bench(fsync=False) as bench,
        running_gatepost(
            name=DATABASE,
            postgres=bench.postgres,
            core=f"{bench.cores.server},{bench.cores.load}",
            scratch=bench.scratch,
            posts=POSTS,
            tokens=2,
            workers=WORKERS,
            settings=SETTINGS,
        ) as target,
    ):
        endurance = Endurance(bench, target)
        say(f"{chosen.visitors} visitors for {chosen.minutes} minutes")
        print("                                  MiB         files     threads  connections")
        print("minute answers/s    p99 ms  worker 1 worker 2   1     2     1     2 at database")
        asyncio.run(endurance.run(chosen.minutes, chosen.visitors))

    print(f"\n{sum(endurance.statuses.values()):,} answers by status:", end=" ")
    print(
        ", ".join(f"{count:,} x {status}" for status, count in sorted(endurance.statuses.items()))
    )
    print(f"{endurance.aborted:,} connections aborted\n")
    print(f"{'over the second half':<30} {'mean':>8} {'rise':>8} {'at most':>8}")
    grew = []
    for name, mean, rise, most in endurance.growths():
        print(f"{name:<30} {mean:8.1f} {rise:+8.2f} {most:8.2f}")
        if rise > most:
            grew.append(name)
    for wrong, count in endurance.wrong.most_common(20):
        print(f"WRONG {count:,} x {wrong}")
    print(f"GREW: {', '.join(grew)}" if grew else "Nothing grew.")
    lost = endurance.statuses[0] + endurance.statuses[500]
    return int(bool(grew or endurance.wrong or lost))


if __name__ == "__main__":
    sys.exit(main())
