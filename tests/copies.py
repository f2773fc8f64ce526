"""Copies of the project, on which tests follow docs/extending.md."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from scripts.extending import PAGE, Command, NewFile, steps

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / PAGE).read_text()


def copy_project(to: Path) -> None:
    """Copy the project, without what is in no program and in no test."""
    ignored = shutil.ignore_patterns("__pycache__")
    for part in ROOT.iterdir():
        if (
            part.is_dir()
            and part.name not in ("benchmarks", "build", "docs")
            and part.name[0] != "."
        ):
            shutil.copytree(part, to / part.name, ignore=ignored)
        elif part.suffix in (".py", ".toml") or part.name == "Makefile":
            shutil.copy(part, to)


def follow(text: str, tree: Path) -> list[str]:
    """Do what the steps in `text` say, and run their commands; the tests that are new with it."""
    tests = []
    for step in steps(text):
        if isinstance(step, Command):
            make(tree, *step.words)
        elif isinstance(step, NewFile):
            assert not (tree / step.path).exists()
            (tree / step.path).write_text(step.text)
            if "/test_" in step.path:
                tests.append(step.path)
        else:
            file = tree / step.path
            file.write_text(step.applied_to(file.read_text()))
    return tests


def make(tree: Path, *command: str, status: int = 0) -> str:
    """Run `make` with the programs of this environment; what it prints."""
    name, *arguments = command
    assert name == "make"
    done = subprocess.run(
        ["make", *arguments, f"BIN={Path(sys.executable).parent}", "DEV="],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def run(tree: Path, tool: str, *arguments: str) -> str:
    done = subprocess.run(
        [Path(sys.executable).with_name(tool), *arguments],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


DRIFT = "tests/test_migrations.py::test_models_and_schema_do_not_drift_apart"
ALL_METHODS = "tests/api/test_middleware.py::test_the_table_lists_exactly_the_existing_routes"
