"""How fast are webhooks delivered, and what do requests lose meanwhile?

Starts a service of its own with one worker on SQLite, and a receiver on the loopback. Measures `GET
/users/me` over 8 connections, alone and while 1,000 deliveries are made. Exits with 1 unless they
arrive within 20 seconds and requests keep 90 % of their rate. It needs nothing but Gatepost itself
and httpx:

    .venv/bin/python benchmarks/deliveries.py [--deliveries 1000] [--directory /dev/shm]
"""

import argparse
import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[1]
GATEPOST = [sys.executable, "-c", "import cli; cli.main()"]
EMAIL, PASSWORD = "admin@example.com", "correct horse battery"
CONNECTIONS = 8
WITHIN = 20.0
KEPT_AT_LEAST = 0.9


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--deliveries", type=int, default=1000)
    parser.add_argument("--directory", default=None)
    parser.add_argument("--receive", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.receive:
        return asyncio.run(receive())
    with tempfile.TemporaryDirectory(dir=chosen.directory) as place, serving(place) as url:
        return asyncio.run(measure(url, chosen.deliveries))


async def measure(url: str, number: int) -> int:
    arrived = 0

    async def count(bytes_: asyncio.StreamReader) -> None:
        nonlocal arrived
        while some := await bytes_.read(4096):
            arrived += len(some)

    # In a process of its own, or else its work would look like requests that are lost.
    receiver = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--receive", stdout=subprocess.PIPE
    )
    port = int(await receiver.stdout.readline())
    counting = asyncio.create_task(count(receiver.stdout))
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        login = await client.post("/login", data={"username": EMAIL, "password": PASSWORD})
        client.headers["Authorization"] = f"Bearer {login.json()['access_token']}"
        body = {"url": f"http://127.0.0.1:{port}/", "events": ["*"]}
        webhook = (await client.post("/webhooks", json=body)).json()
        alone = await rate_while(client, asyncio.sleep(5))

        # One after the other on a connection of its own, so that a backlog builds up at once.
        waiting = asyncio.Semaphore(32)

        async def test() -> None:
            async with waiting:
                answer = await client.post(f"/webhooks/{webhook['id']}/test")
                assert answer.status_code == 202, answer.text

        start = time.perf_counter()
        await asyncio.gather(*(test() for _ in range(number)))
        asked = time.perf_counter() - start

        async def all_arrived() -> None:
            while arrived < number:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

        left = number - arrived
        busy = await rate_while(client, all_arrived())
        seconds = time.perf_counter() - start
    receiver.terminate()
    await counting
    kept = busy / alone
    print(f"{number} deliveries were asked for in {asked:.1f} s and arrived in {seconds:.1f} s")
    print(f"GET /users/me alone {alone:.0f}/s, during the last {left} deliveries {busy:.0f}/s")
    print(f"kept {kept:.2f} (at least {KEPT_AT_LEAST}), within {WITHIN} s")
    return int(seconds > WITHIN or kept < KEPT_AT_LEAST)


async def receive() -> int:
    """Answer every request with 204. Prints the port, and a byte for each request."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(re.search(rb"content-length: (\d+)", head.lower())[1]))
        os.write(1, b".")
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()
        writer.close()

    receiver = await asyncio.start_server(answer, "127.0.0.1", 0)
    os.write(1, f"{receiver.sockets[0].getsockname()[1]}\n".encode())
    await receiver.serve_forever()
    return 0


async def rate_while(client: httpx.AsyncClient, work) -> float:
    """Requests a second that are answered while `work` lasts."""
    answered = 0

    async def ask() -> None:
        nonlocal answered
        while True:
            assert (await client.get("/users/me")).status_code == 200
            answered += 1

    start = time.perf_counter()
    asking = [asyncio.create_task(ask()) for _ in range(CONNECTIONS)]
    await work
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    return answered / (time.perf_counter() - start)


@contextmanager
def serving(directory: str):
    settings = {
        "DATABASE_URL": "sqlite:///gatepost.db",
        "BCRYPT_COST": "4",
        "RATE_LIMITS": "off",
        "WEBHOOKS_PRIVATE": "on",
    }
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    environment |= {f"GATEPOST_{name}": value for name, value in settings.items()}
    quiet = {"cwd": directory, "env": environment, "stderr": subprocess.DEVNULL, "text": True}
    subprocess.run([*GATEPOST, "migrate"], check=True, stdout=subprocess.DEVNULL, **quiet)
    create = [*GATEPOST, "create-admin", EMAIL, "--password-stdin"]
    subprocess.run(create, input=f"{PASSWORD}\n", check=True, stdout=subprocess.DEVNULL, **quiet)
    process = subprocess.Popen([*GATEPOST, "serve", "--port", "0"], stdout=subprocess.PIPE, **quiet)
    try:
        yield re.search(r"http://\S+", process.stdout.readline())[0]
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    sys.exit(main())
