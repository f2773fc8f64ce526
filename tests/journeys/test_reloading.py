"""Ways to start the service for development."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

from tests.journeys.processes import ROOT, TIME_BUDGET, Place
from tests.postgres import free_port


def wait_for_version(url: str, version: str) -> None:
    deadline = time.monotonic() + TIME_BUDGET
    seen = None
    while time.monotonic() < deadline:
        try:
            seen = httpx.get(url).json()["version"]
        except httpx.TransportError:
            seen = None
        if seen == version:
            return
        time.sleep(0.02)
    raise AssertionError(f"{url} is at {seen}, not {version}")


def test_changed_code_is_served_after_an_automatic_reload(place: Place) -> None:
    tree = place.directory / "tree"
    for part in ("api", "application", "domain", "infrastructure"):
        shutil.copytree(ROOT / part, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("cli.py", "main.py"):
        shutil.copy(ROOT / file, tree)
    place.variables["PYTHONPATH"] = str(tree)
    place.within = ["env"]  # as a process of its own, which imports from the copy

    with place.serving("--reload") as service:
        app = tree / "api" / "app.py"
        old, new = 'version="0.1.0"', 'version="0.1.1"'
        text = app.read_text()
        assert old in text
        time.sleep(0.5)  # the reloader has seen all files once by then
        app.write_text(text.replace(old, new))
        wait_for_version(service.url, "0.1.1")
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(TIME_BUDGET) == 0


def test_reloading_allows_one_process_only(place: Place) -> None:
    assert place.refusal("serve", "--reload", "--workers", "2") == (
        "--reload serves with one process: leave --workers out"
    )


def test_the_command_of_fastapi_finds_the_application(place: Place) -> None:
    assert place.run("migrate").status == 0
    port = free_port()
    with (place.directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("fastapi"), "run", "--port", str(port)],
            cwd=ROOT,
            env=place.environment() | {"HOME": str(place.directory), "PATH": os.environ["PATH"]},
            stdout=log,
            stderr=log,
        )
    try:
        wait_for_version(f"http://127.0.0.1:{port}", "0.1.0")
    finally:
        process.terminate()
        process.wait(TIME_BUDGET)
