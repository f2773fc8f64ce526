"""Programs that tests use and no wheel brings along."""

import os
import shutil

import pytest

_PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"  # where Debian has those for root


def program(name: str, *, package: str | None = None) -> str:
    """The path of a program.

    Where it is missing the test is skipped, with the command that installs it. In CI, which sets
    `CI=true`, the test fails: there a skipped test would go unnoticed.
    """
    if path := shutil.which(name, path=_PATH):
        return path
    return missing(f"{name} is not installed: apt-get install {package or name}")


def missing(reason: str) -> str:
    """Skip the test for want of something, or let it fail in CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
