"""Restarts the server when the code changes, for development."""

from collections.abc import Iterator
from pathlib import Path

from uvicorn.supervisors.statreload import StatReload

PACKAGES = ("api", "application", "domain", "infrastructure")


class Reloader(StatReload):
    """Looks at the modules of this project four times a second.

    uvicorn by itself would look at every module below the working directory, and `.venv` has ten
    thousand.
    """

    def iter_py_files(self) -> Iterator[Path]:
        root = Path(__file__).parents[1]
        yield from root.glob("*.py")
        for package in PACKAGES:
            yield from (root / package).rglob("*.py")
