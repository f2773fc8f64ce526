"""What a run of the bench showed: medians over the rounds, ratios beside their targets, a plot."""

import statistics
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib

from load import ROUTES, Measurement

TARGETS: dict[tuple[int, str], dict[str, float]] = {
    (32, "me"): {"tutorial": 11, "fastapi-users": 10, "bare": 0.85, "express": 1.25},
    (32, "post"): {"tutorial": 13, "fastapi-users": 12, "bare": 0.78, "express": 1.6},
    (32, "create"): {"tutorial": 8, "express": 1.1},
    (32, "list"): {"tutorial": 8, "fastapi-users": 6, "express": 1.5},
    (32, "replace"): {"tutorial": 8, "express": 1.2},
    (4, "me"): {"tutorial": 6},
}
"""How many times the rate of each other contender Gatepost's is to be, by connections and route."""

P99_OF_BARE = 3.0
"""Gatepost's p99 at 32 connections is to be at most this many times the bare route's."""

Key = tuple[int, str]


@dataclass
class Results:
    """All measurements of a run, by connections and route, then by contender."""

    about: dict[str, str | int]
    runs: dict[Key, dict[str, list[Measurement]]] = field(default_factory=dict)

    def add(self, key: Key, contender: str, measurement: Measurement) -> None:
        self.runs.setdefault(key, {}).setdefault(contender, []).append(measurement)

    def median(self, key: Key, contender: str, what: str) -> float:
        return float(statistics.median(getattr(run, what) for run in self.runs[key][contender]))

    def ratio(self, key: Key, contender: str, to: str) -> float:
        """The rate of `contender` over that of `to`: the ratio of their medians."""
        return self.median(key, contender, "rate") / self.median(key, to, "rate")

    def errors(self) -> int:
        return sum(run.errors for by in self.runs.values() for runs in by.values() for run in runs)

    def as_dict(self) -> dict[str, object]:
        """For JSON: everything that was measured, run by run."""
        rows = [
            {"connections": connections, "route": route, "contender": name, "round": i}
            | run.as_dict()
            for (connections, route), by in self.runs.items()
            for name, runs in by.items()
            for i, run in enumerate(runs, 1)
        ]
        return {**self.about, "runs": rows}


def markdown(results: Results) -> str:
    """The report: how it was measured, the ratios beside their targets, a table for each route."""
    about = [f"- {name}: {value}" for name, value in results.about.items()]
    parts = ["\n".join(about), _summary(results)]
    parts += [_route_table(results, key) for key in results.runs]
    return "\n\n".join(part for part in parts if part) + "\n"


def _title(key: Key) -> str:
    connections, route = key
    return f"`{ROUTES[route]}`, {connections} connections"


def _summary(results: Results) -> str:
    """Gatepost's rate over each of the others', targets in brackets, marked where missed."""
    contenders = next(iter(results.runs.values()))
    names = [name for name in contenders if not name.startswith("gatepost")]
    if "gatepost" not in contenders or not names:
        return ""
    lines = ["Gatepost's rate is ... times that of (target)", ""]
    lines += [_row(["", *names, "p99 / bare's"]), _row(["---"] + ["---:"] * (len(names) + 1))]
    for key, by in results.runs.items():
        wanted = TARGETS.get(key, {})
        cells = [_against(results.ratio(key, "gatepost", name), wanted.get(name)) for name in names]
        p99 = "-"
        if "bare" in by:
            ours, bares = (results.median(key, name, "p99_ms") for name in ("gatepost", "bare"))
            share = ours / bares
            p99 = f"{share:.1f}"
            if key == (32, "me"):
                p99 += f" ({P99_OF_BARE:g}){' **missed**' if share > P99_OF_BARE else ''}"
        lines.append(_row([_title(key), *cells, p99]))
    return "\n".join(lines)


def _against(ratio: float, wanted: float | None) -> str:
    if wanted is None:
        return f"{ratio:.2f}"
    return f"{ratio:.2f} ({wanted:g}){' **missed**' if ratio < wanted else ''}"


def _route_table(results: Results, key: Key) -> str:
    by = results.runs[key]
    base = "tutorial" if "tutorial" in by else next(iter(by))
    head = ["contender", "req/s", f"x {base}", "p50 ms", "p99 ms", "CPU µs/request", "errors"]
    lines = [f"### {_title(key)}", "", _row(head), _row(["---"] + ["---:"] * 6)]
    for name in sorted(by, key=lambda name: -results.median(key, name, "rate")):
        errors = sum(run.errors for run in by[name])
        cells = [
            name,
            f"{results.median(key, name, 'rate'):,.0f}",
            f"{results.ratio(key, name, base):.2f}",
            f"{results.median(key, name, 'p50_ms'):.1f}",
            f"{results.median(key, name, 'p99_ms'):.1f}",
            f"{results.median(key, name, 'cpu_us'):.0f}",
            f"**{errors}**" if errors else "0",
        ]
        lines.append(_row(cells))
    return "\n".join(lines)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def plot(results: Results, path: Path) -> None:
    """Bars of requests per second, a panel for each route; whiskers span the rounds."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    keys = list(results.runs)
    figure, axes = pyplot.subplots(
        len(keys), 1, figsize=(8, 0.6 + 2.1 * len(keys)), squeeze=False, layout="constrained"
    )
    for key, axis in zip(keys, axes[:, 0], strict=True):
        by = results.runs[key]
        names = sorted(by, key=lambda name: results.median(key, name, "rate"))
        for place, name in enumerate(names):
            rates = [run.rate for run in by[name]]
            middle = statistics.median(rates)
            axis.barh(place, middle, color="#2563eb" if "gatepost" in name else "#cbd5e1")
            axis.plot([min(rates), max(rates)], [place, place], color="#475569", linewidth=1)
            axis.text(max(rates), place, f" {middle:,.0f}", va="center", fontsize=8)
        axis.set_yticks(range(len(names)), names, fontsize=8)
        axis.set_title(_title(key).replace("`", ""), fontsize=9, loc="left")
        axis.spines[["top", "right"]].set_visible(False)
        axis.margins(x=0.1)
    axes[-1, 0].set_xlabel("requests per second (median of rounds)", fontsize=8)
    figure.suptitle(f"{results.about['date']}, one worker, one core", fontsize=9)
    figure.savefig(path, dpi=120)
