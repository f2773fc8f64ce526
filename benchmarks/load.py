"""Load by wrk, and what the server spent on it.

wrk is a closed loop: each connection sends its next request when it has the answer to the last. Its
latencies are what a client of a saturated server sees: read p99 beside the rate, never alone.
"""

import json
import random
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from contenders.target import CONTENT, Target, posts_of
from environment import HERE, wrk
from machine import Cores

REQUESTS = 10_000
"""Different requests in a rotation; the same ones, by seed, for every contender."""

ROUTES = {
    "me": "GET /users/me",
    "post": "GET /posts/{id}",
    "create": "POST /posts",
    "replace": "PUT /posts/{id}",
    "list": "GET /posts?limit=10",
}


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One run of load on one target."""

    requests: int
    seconds: float
    rate: float
    """Answers per second."""
    p50_ms: float
    p99_ms: float
    cpu_us: float
    """Microseconds of the server's CPU per request; PostgreSQL's are not in it."""
    errors: int
    """Answers of 400 and above, time-outs and broken connections."""

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


class Load:
    """Runs of load against targets; keeps the requests that it plays in `scratch`."""

    def __init__(self, cores: Cores, scratch: Path) -> None:
        self._command = ["taskset", "-c", cores.load, wrk(), "-t1", "-s", str(HERE / "load.lua")]
        self._scratch = scratch

    def run(self, target: Target, route: str, *, connections: int, seconds: int) -> Measurement:
        """Ask `target` for a route of `ROUTES`, or all of them in turn for `mix`."""
        play = self._scratch / f"{target.name}.{route}.requests"
        if not play.exists():
            lines = _mix(target) if route == "mix" else _lines(target, route)
            play.write_text("\n".join(lines))
        return self._play(target, play, connections, seconds)

    def run_paths(
        self, target: Target, paths: list[str], *, connections: int, seconds: int
    ) -> Measurement:
        """GET the paths in rotation."""
        play = self._scratch / f"{target.name}.paths.requests"
        tokens = target.tokens
        lines = [_line("GET", path, tokens[i % len(tokens)]) for i, path in enumerate(paths)]
        play.write_text("\n".join(lines))
        return self._play(target, play, connections, seconds)

    def _play(self, target: Target, play: Path, connections: int, seconds: int) -> Measurement:
        options = [f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", target.server.url]
        before = target.server.cpu_seconds()
        ran = subprocess.run(
            [*self._command, *options, "--", str(play)], capture_output=True, text=True, check=True
        )
        cpu = target.server.cpu_seconds() - before
        seen = json.loads(ran.stdout.splitlines()[-1])
        answered = max(seen["requests"], 1)
        return Measurement(
            **seen, rate=seen["requests"] / seen["seconds"], cpu_us=cpu / answered * 1e6
        )


def _lines(target: Target, route: str) -> list[str]:
    chance = random.Random(route)
    tokens = target.tokens
    lines = []
    for i in range(REQUESTS):
        token = tokens[i % len(tokens)]
        match route:
            case "me":
                lines.append(_line("GET", "/users/me", token))
            case "post":
                lines.append(_line("GET", f"/posts/{chance.randint(1, target.posts)}", token))
            case "list":
                lines.append(_line("GET", "/posts?limit=10", token))
            case "create":
                draft = {"title": f"Title {chance.random()}", "content": CONTENT}
                lines.append(_line("POST", "/posts", token, json.dumps(draft)))
            case "replace":
                number = chance.choice(posts_of(i % len(tokens) + 1))
                draft = {"title": f"Title {chance.random()}", "content": CONTENT}
                lines.append(_line("PUT", f"/posts/{number}", token, json.dumps(draft)))
            case _:
                raise ValueError(route)
    return lines


def _mix(target: Target) -> list[str]:
    columns = zip(*(_lines(target, route) for route in ROUTES), strict=True)
    return [line for lines in columns for line in lines]


def _line(method: str, path: str, token: str, body: str = "") -> str:
    return f"{method}\t{path}\t{token}\t{body}"
