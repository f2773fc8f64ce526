"""Gatepost beside the usual ways: requests per second, latency and CPU per request.

    python benchmarks/run.py [--rounds 5] [--seconds 5] [--connections 32,4] [--routes me,list]

Every contender runs from the start to the end, one worker each, all on the same core; the load and
PostgreSQL are on the other (`--postgres-cores` says otherwise). In each round every contender
serves every route once, in an order that turns from round to round, so that a noisy minute of the
machine strikes all of them alike. The tables show medians over the rounds. Writes `latest.md`,
`latest.json` and `latest.png` into `--output`; exits with 1 when a contender gave a wrong answer or
any request failed.
"""

import environment

if __name__ == "__main__":
    environment.enter()

import argparse
import json
import sys
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime
from pathlib import Path

from answers import WrongAnswer, check_answers
from bench import Bench, running_bench, say
from contenders.gatepost import running_gatepost
from contenders.stand_ins import STAND_INS, running_stand_in
from contenders.target import POSTS, TOKENS, USERS, Target
from load import ROUTES, Load
from machine import Cores, describe
from report import Results, markdown, plot

CONTENDERS = ["gatepost", *STAND_INS]
WARM_UP = 2
"""Seconds of load on each route before the first round: pools fill, V8 compiles."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--rounds", type=int, default=5)
    add("--seconds", type=int, default=5, help="of load on a route, in each round")
    add("--connections", type=_numbers, default=[32], help="one or several: 32,4")
    add("--routes", type=_some_of(ROUTES), default=list(ROUTES), help=", ".join(ROUTES))
    add("--contenders", type=_some_of(CONTENDERS), help=f"default all: {', '.join(CONTENDERS)}")
    add("--database", choices=["postgresql", "sqlite"], default="postgresql")
    add("--beside", type=Path, help="another checkout, whose Gatepost runs as gatepost-beside")
    add("--plain", action="store_true", help="add gatepost-plain, with GATEPOST_FASTPATH=off")
    add("--fsync", choices=["on", "off"], default="on", help="PostgreSQL's, for all alike")
    add("--postgres-cores", default="auto", help="auto, load, server, all, or as taskset has it")
    add("--output", type=Path, default=environment.HERE / "results")
    chosen = parser.parse_args()
    if chosen.database == "sqlite" and chosen.contenders:
        parser.error("--database sqlite sets Gatepost beside itself: it takes no --contenders")
    return chosen


def main() -> int:
    chosen = arguments()
    names = _contenders(chosen)
    chosen.output.mkdir(parents=True, exist_ok=True)
    options = {"postgres_cores": chosen.postgres_cores, "fsync": chosen.fsync == "on"}
    with running_bench(**options) as bench, ExitStack() as stack:
        targets = []
        for name in names:
            say(f"starting {name}")
            targets.append(stack.enter_context(_running(name, bench, chosen)))
            try:
                check_answers(targets[-1])
            except WrongAnswer as error:
                sys.exit(str(error))
        results = Results(_about(chosen, bench.cores))
        measure(results, bench.load, targets, chosen)

    report = markdown(results)
    (chosen.output / "latest.json").write_text(json.dumps(results.as_dict(), indent=1) + "\n")
    (chosen.output / "latest.md").write_text(report)
    plot(results, chosen.output / "latest.png")
    print(report)
    return 1 if results.errors() else 0


def measure(
    results: Results, load: Load, targets: Sequence[Target], chosen: argparse.Namespace
) -> None:
    """The rounds; see the module's docstring."""
    for target in targets:
        for route in chosen.routes:
            load.run(target, route, connections=max(chosen.connections), seconds=WARM_UP)
    for turn in range(chosen.rounds):
        say(f"round {turn + 1} of {chosen.rounds}")
        first = turn % len(targets)
        for connections in chosen.connections:
            for route in chosen.routes:
                for target in [*targets[first:], *targets[:first]]:
                    run = load.run(target, route, connections=connections, seconds=chosen.seconds)
                    results.add((connections, route), target.name, run)


def _running(name: str, bench: Bench, chosen: argparse.Namespace) -> AbstractContextManager[Target]:
    core, scratch = bench.cores.server, bench.scratch
    if name in STAND_INS:
        return running_stand_in(name, postgres=bench.postgres, core=core, scratch=scratch)
    postgres = None if name == "gatepost-sqlite" else bench.postgres
    return running_gatepost(
        name=name,
        checkout=chosen.beside if name == "gatepost-beside" else environment.ROOT,
        postgres=postgres,
        core=core,
        scratch=scratch,
        settings={"FASTPATH": "off"} if name == "gatepost-plain" else {},
    )


def _contenders(chosen: argparse.Namespace) -> list[str]:
    """Those asked for; all that can run here when none were."""
    if chosen.database == "sqlite":
        return ["gatepost", "gatepost-sqlite"]
    names: list[str] = [*(chosen.contenders or CONTENDERS)]
    names += ["gatepost-plain"] if chosen.plain else []
    names += ["gatepost-beside"] if chosen.beside else []
    on_node = {"express", "fastify"}
    if on_node & set(names) and (problem := environment.node()):
        if chosen.contenders:
            sys.exit(f"express and fastify can't run: {problem}.")
        say(f"leaving out express and fastify: {problem}")
        return [name for name in names if name not in on_node]
    return names


def _about(chosen: argparse.Namespace, cores: Cores) -> dict[str, str | int]:
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": describe(),
        "cores": f"server {cores.server}, load {cores.load}, PostgreSQL {cores.postgres}",
        "data": f"{USERS:,} users, {POSTS:,} posts, {TOKENS} tokens",
        "PostgreSQL's fsync": chosen.fsync,
        "rounds": f"{chosen.rounds} of {chosen.seconds} s a route",
    }


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _some_of(names: Collection[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        chosen = text.split(",")
        for name in chosen:
            if name not in names:
                raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(names)}")
        return chosen

    return parse


if __name__ == "__main__":
    sys.exit(main())
