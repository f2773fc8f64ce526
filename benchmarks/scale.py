"""Does it cost more with a hundred times the posts?

Two Gateposts, with 10,000 and with 1,000,000 posts, in interleaved rounds: lookups by random id,
and pages of ten: the first, those at 50 % and 90 % of `GET /posts`, reached by walking there, the
first by votes, and searches for a word of one post and for a word of all. Exits with 1 when any
takes over 1.2 times as long with the many, or fails.
"""

import environment

if __name__ == "__main__":
    environment.enter()

import argparse
import random
import statistics
import sys
from contextlib import ExitStack

import httpx

from bench import running_bench, say
from contenders.gatepost import running_gatepost
from contenders.target import Target
from load import Measurement

SIZES = (10_000, 1_000_000)
AT_MOST = 1.2
CONNECTIONS = 32
CURSORS = 50
DEPTHS = (50, 90)
"""Per cent of the way from the newest post to the oldest one."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--database", choices=["postgresql", "sqlite"], default="postgresql")
    chosen = parser.parse_args()
    runs: dict[str, dict[int, list[Measurement]]] = {}
    with running_bench() as bench, ExitStack() as stack:
        lists: list[tuple[Target, dict[str, list[str]]]] = []
        for size in SIZES:
            say(f"starting with {size:,} posts")
            target = stack.enter_context(
                running_gatepost(
                    name=f"gatepost-{size}",
                    postgres=bench.postgres if chosen.database == "postgresql" else None,
                    core=bench.cores.server,
                    scratch=bench.scratch,
                    posts=size,
                )
            )
            lists.append((target, paths_of(target)))
        how = {"connections": CONNECTIONS, "seconds": chosen.seconds}
        for turn in range(chosen.rounds):
            say(f"round {turn + 1} of {chosen.rounds}")
            for target, paths in lists:
                seen = {"lookup": bench.load.run(target, "post", **how)}
                seen |= {
                    name: bench.load.run_paths(target, of_list, **how)
                    for name, of_list in paths.items()
                }
                for name, run in seen.items():
                    by_size = runs.setdefault(name, {size: [] for size in SIZES})
                    by_size[target.posts].append(run)

    few, many = SIZES
    missed = False
    print(f"| | req/s, {few:,} posts | req/s, {many:,} posts | times the cost | at most |")
    print("|---|---:|---:|---:|---:|")
    for name, by in runs.items():
        rates = [statistics.median(run.rate for run in by[size]) for size in SIZES]
        cost = rates[0] / rates[1]
        errors = sum(run.errors for size in SIZES for run in by[size])
        missed |= cost > AT_MOST or errors > 0
        failed = f", {errors} failed" if errors else ""
        print(f"| {name}{failed} | {rates[0]:,.0f} | {rates[1]:,.0f} | {cost:.2f} | {AT_MOST} |")
    return int(missed)


def paths_of(target: Target) -> dict[str, list[str]]:
    """The paths of each kind of list."""
    chance = random.Random(target.posts)
    rare = [f"/posts?limit=10&q={chance.randint(1, target.posts)}" for _ in range(CURSORS)]
    cursors = walk(target, pages=target.posts * max(DEPTHS) // 100 // 100)
    return {
        "first page": ["/posts?limit=10"],
        **{
            f"page at {depth} %": [
                f"/posts?{httpx.QueryParams(limit=10, after=after)}"
                for after in cursors[: target.posts * depth // 100 // 100][-CURSORS:]
            ]
            for depth in DEPTHS
        },
        "top": ["/posts?limit=10&sort=top"],
        "a word of one post": rare,
        "a word of all posts": ["/posts?limit=10&q=bench"],
    }


def walk(target: Target, *, pages: int) -> list[str]:
    """The cursors that so many pages of a hundred posts yield."""
    cursors: list[str] = []
    with httpx.Client(base_url=target.server.url, timeout=30) as client:
        client.headers["Authorization"] = f"Bearer {target.tokens[0]}"
        url = "/posts?limit=100"
        for _ in range(pages):
            answer = client.get(url).raise_for_status()
            url = answer.links["next"]["url"]
            cursors.append(httpx.URL(url).params["after"])
    return cursors


if __name__ == "__main__":
    sys.exit(main())
