"""Does the time of a refused login tell what was wrong with it?

Starts a service of its own and times logins, 200 of each kind in random order: an unknown address,
a wrong password, a deactivated user with the right one, and a wrong password whose stored hash is
from cheaper days. Compares each kind with the first by a Mann-Whitney test; exits with 1 if any
differs at 1 %. It needs nothing but Gatepost itself and httpx:

    .venv/bin/python benchmarks/login_timing.py [--cost 8] [--samples 200]

The cheaper the hashing, the sharper the look: differences that drown in 240 ms show in 15.
"""

import argparse
import math
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[1]
GATEPOST = [sys.executable, "-c", "import cli; cli.main()"]
PASSWORD = "correct horse battery"
KINDS = {
    "unknown": ("nobody@example.com", PASSWORD),
    "wrong": ("anna@example.com", "another horse battery"),
    "deactivated": ("bert@example.com", PASSWORD),
    "old hash": ("carl@example.com", "another horse battery"),
}
SIGNIFICANT = 0.01


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cost", type=int, default=8)
    parser.add_argument("--samples", type=int, default=200)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        with serving(directory, cost=4) as client:
            register(client, "carl@example.com")
        with serving(directory, cost=arguments.cost) as client:
            register(client, "anna@example.com")
            register(client, "bert@example.com")
            deactivate(client, directory, "bert@example.com")
            times = measure(client, arguments.samples)
    print(f"bcrypt cost {arguments.cost}, {arguments.samples} logins of each kind")
    told_apart = 0
    for kind, seconds in times.items():
        p = mann_whitney(times["unknown"], seconds)
        told_apart += kind != "unknown" and p < SIGNIFICANT
        print(
            f"{kind:12} median {statistics.median(seconds) * 1000:7.2f} ms,"
            f" mean {statistics.fmean(seconds) * 1000:7.2f} ms, p = {p:.3f}"
        )
    print("told apart" if told_apart else "not told apart")
    return min(told_apart, 1)


def measure(client: httpx.Client, samples: int) -> dict[str, list[float]]:
    order = [kind for kind in KINDS for _ in range(samples)]
    random.shuffle(order)
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for kind in [*KINDS] * 5 + order:
        username, password = KINDS[kind]
        start = time.perf_counter()
        answer = client.post("/login", data={"username": username, "password": password})
        times[kind].append(time.perf_counter() - start)
        assert answer.status_code == 401, answer.text
    return {kind: seconds[5:] for kind, seconds in times.items()}  # the first ones warmed up


def mann_whitney(xs: list[float], ys: list[float]) -> float:
    """Two-sided p of the U test, by its normal approximation, with ranks shared among ties."""
    ranked = sorted([(x, 0) for x in xs] + [(y, 1) for y in ys])
    rank_sum, ties, at = 0.0, 0, 0
    while at < len(ranked):
        end = at
        while end < len(ranked) and ranked[end][0] == ranked[at][0]:
            end += 1
        rank = (at + 1 + end) / 2
        rank_sum += rank * sum(group == 0 for _, group in ranked[at:end])
        ties += (end - at) ** 3 - (end - at)
        at = end
    n, m, total = len(xs), len(ys), len(ranked)
    u = rank_sum - n * (n + 1) / 2
    spread = math.sqrt(n * m / 12 * (total + 1 - ties / (total * (total - 1))))
    z = (abs(u - n * m / 2) - 0.5) / spread if spread else 0.0
    return min(1.0, math.erfc(max(z, 0.0) / math.sqrt(2)))


@contextmanager
def serving(directory: str, *, cost: int):
    settings = {"DATABASE_URL": "sqlite:///gatepost.db", "BCRYPT_COST": str(cost)}
    settings |= {"RATE_LIMITS": "off"} if has_limits() else {}
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    environment |= {f"GATEPOST_{name}": value for name, value in settings.items()}
    process = subprocess.Popen(
        [*GATEPOST, "serve", "--port", "0"],
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        url = re.search(r"http://\S+", process.stdout.readline())[0]
        with httpx.Client(base_url=url, timeout=30) as client:
            yield client
    finally:
        process.terminate()
        process.wait()


def has_limits() -> bool:
    return "rate_limits" in (ROOT / "infrastructure" / "settings.py").read_text()


def register(client: httpx.Client, email: str) -> int:
    answer = client.post("/users", json={"email": email, "password": PASSWORD})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def deactivate(client: httpx.Client, directory: str, email: str) -> None:
    """As an admin does it."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    environment |= {"GATEPOST_DATABASE_URL": "sqlite:///gatepost.db"}
    create = [*GATEPOST, "create-admin", "admin@example.com", "--password-stdin"]
    subprocess.run(
        create, cwd=directory, env=environment, input=f"{PASSWORD}\n", text=True, check=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    login = client.post("/login", data={"username": "admin@example.com", "password": PASSWORD})
    headers = {"Authorization": f"Bearer {login.json()['access_token']}"}
    (user,) = (u for u in client.get("/users", headers=headers).json() if u["email"] == email)
    answer = client.patch(f"/users/{user['id']}", json={"is_active": False}, headers=headers)
    assert answer.status_code == 200, answer.text


if __name__ == "__main__":
    sys.exit(main())
