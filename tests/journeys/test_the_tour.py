"""The tour of README.md, followed to the letter on the started service."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.journeys.processes import ROOT, Place

_CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_CHANGING = [
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", "TIME"),
    (r"(?m)^date: .+$", "date: TIME"),
    (r"[0-9a-f]{12}-[0-9a-f]+", "REQUEST"),
    (r'"\d+-[0-9a-f]{16}"', "TAG"),
    (r"(?<=r=119;t=)\d+", "SECONDS"),
    (r"(?<=the password )\S+", "PASSWORD"),
]
"""What is different each time, and what is put in its place to compare."""


def tour() -> list[tuple[str, str]]:
    """Each command of the tour, and what it prints."""
    _, _, rest = (ROOT / "README.md").read_text().partition("\n## A tour\n")
    blocks = "".join(_CONSOLE.findall(rest.partition("\n## ")[0]))
    steps = re.split(r"^\$ ", blocks, flags=re.MULTILINE)[1:]
    parts = [re.fullmatch(r"((?:[^\n]*\\\n)*[^\n]*\n)(.*)", step, re.DOTALL) for step in steps]
    return [(part[1], part[2].strip()) for part in parts if part]


def comparable(text: str) -> str:
    text = text.replace("\r", "").strip()
    for pattern, name in _CHANGING:
        text = re.sub(pattern, name, text)
    return text


def test_every_command_prints_what_the_readme_shows(place: Place) -> None:
    del place.settings["RATE_LIMITS"]
    steps = tour()
    assert len(steps) >= 8
    ready = "\necho -n END-OF-STEP\n"
    with place.serving() as service:
        script = ready.join(command for command, _ in steps) + ready
        script = script.replace("localhost:8000", service.url.removeprefix("http://"))
        script = script.replace(".venv/bin/", f"{Path(sys.executable).parent}/")
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=place.directory,
            env=place.environment() | {"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )

    printed = done.stdout.split("END-OF-STEP")[:-1]
    for (command, shown), said in zip(steps, printed, strict=True):
        assert comparable(said) == comparable(shown), command
