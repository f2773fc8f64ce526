"""Does it cost more with a hundred times the posts?

Two Gateposts, with 10,000 and with 1,000,000 posts, in interleaved rounds: pages of ten from the
middle of `GET /posts`, reached by walking there, and lookups by random id. Exits with 1 when either
takes over 1.2 times as long with the many.
"""

import environment

if __name__ == "__main__":
    environment.enter()

import argparse
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--database", choices=["postgresql", "sqlite"], default="postgresql")
    chosen = parser.parse_args()
    runs: dict[str, dict[int, list[Measurement]]] = {
        "lookup": {size: [] for size in SIZES},
        "page at 50 %": {size: [] for size in SIZES},
    }
    with running_bench() as bench, ExitStack() as stack:
        pages: list[tuple[Target, list[str]]] = []
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
            pages.append((target, middle_pages(target)))
        how = {"connections": CONNECTIONS, "seconds": chosen.seconds}
        for turn in range(chosen.rounds):
            say(f"round {turn + 1} of {chosen.rounds}")
            for target, paths in pages:
                runs["lookup"][target.posts].append(bench.load.run(target, "post", **how))
                page = bench.load.run_paths(target, paths, **how)
                runs["page at 50 %"][target.posts].append(page)

    few, many = SIZES
    missed = False
    print(f"| | req/s, {few:,} posts | req/s, {many:,} posts | times the cost | at most |")
    print("|---|---:|---:|---:|---:|")
    for name, by in runs.items():
        if any(run.errors for size in SIZES for run in by[size]):
            sys.exit(f"{name}: some requests failed")
        rates = [statistics.median(run.rate for run in by[size]) for size in SIZES]
        cost = rates[0] / rates[1]
        missed |= cost > AT_MOST
        print(f"| {name} | {rates[0]:,.0f} | {rates[1]:,.0f} | {cost:.2f} | {AT_MOST} |")
    return int(missed)


def middle_pages(target: Target) -> list[str]:
    """Paths of pages of ten around half of the posts, by the cursors that a walk there yields."""
    paths: list[str] = []
    with httpx.Client(base_url=target.server.url, timeout=30) as client:
        client.headers["Authorization"] = f"Bearer {target.tokens[0]}"
        url = "/posts?limit=100"
        for _ in range(target.posts // 200):
            answer = client.get(url).raise_for_status()
            url = answer.links["next"]["url"]
            after = httpx.URL(url).params["after"]
            paths.append(f"/posts?{httpx.QueryParams(limit=10, after=after)}")
    return paths[-CURSORS:]


if __name__ == "__main__":
    sys.exit(main())
