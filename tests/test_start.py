"""What a start loads, and what it leaves for later."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

SELDOM_NEEDED = {
    "alembic": "migrations",
    "asyncpg": "PostgreSQL",
    "checks": "gatepost check",
    "demo": "gatepost seed",  # posts only
    "httpx": "keys of an outside provider",
    "joserfc": "tokens of an outside provider",
    "rich": "gatepost seed, and structlog",
    "structlog": "the first line of the log",
    "valkey": "limits in Redis",
    "webauthn": "the first passkey",
}
"""Packages and modules that a start does not import, and what does."""


def output_of(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return done.stdout


BUILD = """
import sys, start, cli, main
from infrastructure.settings import Settings

secret = "tZ4vQ9kX2mLw7RbN5sHj8DfG3yUc6EaP"
main.build(Settings(database_url="sqlite:///nowhere.db", secret_key=secret))
print(*sys.modules)
"""


def test_a_start_on_sqlite_imports_nothing_that_is_seldom_needed() -> None:
    loaded = output_of(BUILD).split()

    assert "api.posts" in loaded  # posts only
    assert sorted(SELDOM_NEEDED.keys() & set(loaded)) == []


def test_the_garbage_collector_is_on_after_the_start_and_skips_imported_objects() -> None:
    program = """
import gc, sys, start
sys.argv = ["gatepost", "--version"]
try:
    start.main()
except SystemExit:
    print(gc.isenabled(), gc.get_freeze_count() > 100_000)
"""

    assert output_of(program).splitlines()[-1] == "True True"
