"""Do logins starve everybody else?

`GET /users/me` at 32 connections, alone and while 20 logins a second arrive at bcrypt cost 12,
which is more than the server's core can hash. Exits with 1 unless the rate stays at a quarter or
more and every login is answered within two seconds, with 200 or 503.
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

import httpx

from bench import running_bench, say
from contenders.gatepost import login, running_gatepost
from contenders.target import USERS, Target
from load import Load

LOGINS_A_SECOND = 20
BCRYPT_COST = 12
CONNECTIONS = 32
TOKENS = 20
"""Few, because each costs a login at the same cost first."""
KEPT_AT_LEAST = 0.25
WITHIN = 2.0

Login = tuple[int, float]
"""Status (0: no answer) and seconds."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=10)
    chosen = parser.parse_args()
    idle, busy, logins = [], [], []
    with running_bench() as bench:
        say("starting gatepost")
        with running_gatepost(
            postgres=bench.postgres,
            core=bench.cores.server,
            scratch=bench.scratch,
            tokens=TOKENS,
            bcrypt_cost=BCRYPT_COST,
        ) as target:
            for turn in range(chosen.rounds):
                say(f"round {turn + 1} of {chosen.rounds}")
                alone = bench.load.run(
                    target, "me", connections=CONNECTIONS, seconds=chosen.seconds
                )
                rate, answers = asyncio.run(under_logins(target, bench.load, chosen.seconds))
                idle.append(alone.rate)
                busy.append(rate)
                logins += answers

    kept = statistics.median(busy) / statistics.median(idle)
    slowest = max(seconds for _, seconds in logins)
    statuses = Counter(status for status, _ in logins)
    print(f"GET /users/me alone:        {statistics.median(idle):,.0f} requests/s")
    print(f"GET /users/me with logins:  {statistics.median(busy):,.0f} requests/s")
    print(f"kept:                       {kept:.2f} (at least {KEPT_AT_LEAST})")
    print(f"logins:                     {dict(statuses)} by status")
    print(f"slowest login:              {slowest:.2f} s (at most {WITHIN})")
    return int(kept < KEPT_AT_LEAST or slowest > WITHIN or not statuses.keys() <= {200, 503})


async def under_logins(target: Target, load: Load, seconds: int) -> tuple[float, list[Login]]:
    """The rate of `GET /users/me` while logins arrive, the earlier ones answered or not."""
    loading = asyncio.create_task(
        asyncio.to_thread(load.run, target, "me", connections=CONNECTIONS, seconds=seconds)
    )
    async with httpx.AsyncClient(base_url=target.server.url, timeout=30) as client:
        arrived = []
        start = time.perf_counter()
        for i in range(seconds * LOGINS_A_SECOND):
            await asyncio.sleep(start + i / LOGINS_A_SECOND - time.perf_counter())
            user = TOKENS + 1 + i % (USERS - TOKENS - 1)
            arrived.append(asyncio.create_task(_log_in(client, user)))
        answers = await asyncio.gather(*arrived)
    return (await loading).rate, answers


async def _log_in(client: httpx.AsyncClient, user: int) -> Login:
    start = time.perf_counter()
    try:
        status = (await client.post("/login", data=login(user))).status_code
    except httpx.TransportError:
        status = 0
    return status, time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
