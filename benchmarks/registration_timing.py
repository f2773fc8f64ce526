"""Does the time of a quiet registration, or of a change of address, tell whether somebody has it?

Starts a service of its own with REGISTRATION=quiet and times requests for free and taken addresses,
200 of each in random order. Compares free with taken by a Mann-Whitney test; exits with 1 if any
differs at 1 %. It needs nothing but Gatepost itself and httpx:

    .venv/bin/python benchmarks/registration_timing.py [--cost 8] [--samples 200]
"""

import argparse
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import httpx

from login_timing import GATEPOST, PASSWORD, ROOT, SIGNIFICANT, mann_whitney, register

KINDS = ("registration", "change of address")
TAKEN = "taken@example.com"
_numbers = count(1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cost", type=int, default=8)
    parser.add_argument("--samples", type=int, default=200)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        with serving(directory, arguments.cost, "open") as client:
            for email in (TAKEN, "anna@example.com"):
                register(client, email)
        with serving(directory, arguments.cost, "quiet") as client:
            times = measure(client, arguments.samples)
    print(f"bcrypt cost {arguments.cost}, {arguments.samples} requests of each kind")
    told_apart = 0
    for kind in KINDS:
        free, taken = times[kind, False], times[kind, True]
        p = mann_whitney(free, taken)
        told_apart += p < SIGNIFICANT
        print(
            f"{kind:18} free {statistics.median(free) * 1000:7.2f} ms,"
            f" taken {statistics.median(taken) * 1000:7.2f} ms (medians), p = {p:.3f}"
        )
    print("told apart" if told_apart else "not told apart")
    return min(told_apart, 1)


def measure(client: httpx.Client, samples: int) -> dict[tuple[str, bool], list[float]]:
    form = {"username": "anna@example.com", "password": PASSWORD}
    token = client.post("/login", data=form).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    kinds = [(kind, is_taken) for kind in KINDS for is_taken in (False, True)]
    order = kinds * samples
    random.shuffle(order)
    times: dict[tuple[str, bool], list[float]] = {kind: [] for kind in kinds}
    for kind, is_taken in kinds * 5 + order:
        # As long as the taken one.
        email = TAKEN if is_taken else f"{next(_numbers):05}@example.com"
        start = time.perf_counter()
        if kind == "registration":
            answer = client.post("/users", json={"email": email, "password": PASSWORD})
        else:
            body = {"email": email, "current_password": PASSWORD}
            answer = client.patch("/users/me", json=body, headers=headers)
        times[kind, is_taken].append(time.perf_counter() - start)
        assert answer.status_code in (200, 202), answer.text
        time.sleep(0.005)  # for the mail, which is not part of the answer
    return {kind: seconds[5:] for kind, seconds in times.items()}  # the first ones warmed up


@contextmanager
def serving(directory: str, cost: int, registration: str):
    settings = {
        "DATABASE_URL": "sqlite:///gatepost.db",
        "BCRYPT_COST": str(cost),
        "RATE_LIMITS": "off",
        "REGISTRATION": registration,
    }
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    environment |= {f"GATEPOST_{name}": value for name, value in settings.items()}
    output = Path(directory) / "output"  # a file, because mails are printed
    with output.open("w") as stdout:
        process = subprocess.Popen(
            [*GATEPOST, "serve", "--port", "0"],
            cwd=directory,
            env=environment,
            stdout=stdout,
            stderr=subprocess.DEVNULL,
        )
    try:
        while not (url := re.search(r"http://\S+", output.read_text())):
            time.sleep(0.05)
        with httpx.Client(base_url=url[0], timeout=30) as client:
            yield client
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    sys.exit(main())
