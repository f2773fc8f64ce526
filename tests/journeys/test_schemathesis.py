"""The whole API as the OpenAPI document tells it, asked by schemathesis in every way it knows."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.journeys.processes import ROOT, Place

HERE = Path(__file__).parent
ADMIN = "root@example.com"
PASSWORD = "correct horse battery"
MINUTES = float(os.environ.get("FUZZ_MINUTES", "0"))
EXAMPLES = 3
"""Of each operation in each phase, unless there are minutes to spend."""

EFFORT = (
    ["--max-time", str(round(MINUTES * 60)), "--seed", str(os.getpid())]
    if MINUTES
    else ["--generation-deterministic", "--max-examples", str(EXAMPLES)]
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "role"), [("sqlite", "member"), ("postgresql", "admin")], indirect=["kind"]
)
def test_the_api_does_what_its_document_says(place: Place, role: str) -> None:
    with place.serving() as service:
        made = place.run("create-admin", ADMIN, "--password-stdin", given=PASSWORD)
        assert made.status == 0, made.stderr

        asked = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli"),
                *("--config-file", HERE / "schemathesis.toml"),
                *("run", f"{service.url}/openapi.json", "--no-color", *EFFORT),
            ],
            cwd=place.directory,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT),
                "SCHEMATHESIS_HOOKS": "tests.journeys.schemathesis_hooks",
                "SERVICE": service.url,
                "ROLE": role,
                "ADMIN": ADMIN,
                "PASSWORD": PASSWORD,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=600 + MINUTES * 120,
        )
        assert asked.returncode == 0, asked.stdout
