"""Does memory grow over a million requests?

All four routes in turn, at 32 connections; resident memory after every run of load. Caches may fill
during the first fifth; exits with 1 when the median of the last is over 5 % above the second's.
"""

import environment

if __name__ == "__main__":
    environment.enter()

import argparse
import statistics
import sys

from bench import running_bench, say
from contenders.gatepost import running_gatepost

CONNECTIONS = 32
SECONDS = 5
GROWTH = 1.05


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--database", choices=["postgresql", "sqlite"], default="postgresql")
    chosen = parser.parse_args()
    samples: list[tuple[int, float]] = []
    answered = 0
    with (
        running_bench() as bench,
        running_gatepost(
            postgres=bench.postgres if chosen.database == "postgresql" else None,
            core=bench.cores.server,
            scratch=bench.scratch,
        ) as target,
    ):
        while answered < chosen.requests:
            run = bench.load.run(target, "mix", connections=CONNECTIONS, seconds=SECONDS)
            if run.errors:
                sys.exit(f"{run.errors} of {run.requests} requests failed")
            answered += run.requests
            samples.append((answered, target.server.resident_bytes() / 2**20))
            say(f"{answered:>9,} requests: {samples[-1][1]:.1f} MiB")

    early = [size for count, size in samples if 0.2 < count / answered <= 0.4]
    late = [size for count, size in samples if count / answered > 0.8]
    if not early:
        sys.exit("Too few requests to tell: ask for more than a minute's worth.")
    before, after = statistics.median(early), statistics.median(late)
    print(f"resident: {before:.1f} MiB after a fifth, {after:.1f} MiB at the end")
    print(f"growth:   {after / before:.3f} (at most {GROWTH})")
    return int(after / before > GROWTH)


if __name__ == "__main__":
    sys.exit(main())
