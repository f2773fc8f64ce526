"""`make migration`, on a copy of the tree."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infrastructure.database import schema

ROOT = Path(__file__).parents[2]
VERSIONS = Path("infrastructure", "database", "migrations", "versions")

ROW = """
from datetime import datetime

from infrastructure.database.driver.rows import Json, Row, primary_key, reference, timestamp_column
from sqlmodel import Field


class HealthRow(Row, table=True):
    __tablename__ = "illnesses"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: int | None = primary_key()
    user_id: int = reference("users.id", index=True)
    name: str = Field(unique=True)
    details: str = Field(sa_type=Json)
    since: datetime = timestamp_column()
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for part in ("application", "domain", "infrastructure"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def generate(tree: Path, name: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "infrastructure.database.migrations.generate", name],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def newest(tree: Path) -> Path:
    return max((tree / VERSIONS).glob("*.py"))


def test_a_new_row_class_becomes_a_revision_with_the_next_number(tree: Path) -> None:
    before = newest(tree).name
    # A concept without a module in this package.
    (tree / "infrastructure" / "database" / "health.py").write_text(ROW)

    done = generate(tree, "illnesses")

    assert done.returncode == 0, done.stderr
    written = newest(tree)
    assert written.name == f"{int(before[:4]) + 1:04}_illnesses.py"
    text = written.read_text()
    assert f"down_revision = '{before[:4]}'" in text
    assert "'sqlite'" in text
    assert "fk_illnesses_user_id" in text
    assert "infrastructure" not in text
    assert "###" not in text


def test_without_a_difference_nothing_is_written(tree: Path) -> None:
    done = generate(tree, "nothing")

    assert "Rows and schema agree: no migration is needed" in done.stdout
    assert newest(tree).name[:4] == schema.newest()


@pytest.mark.parametrize("name", ["", "Two Words", "../../etc"])
def test_an_invalid_name_is_refused_in_one_line(tree: Path, name: str) -> None:
    done = generate(tree, name)

    assert done.returncode == 1
    assert done.stderr == "NAME must be made of a-z, 0-9 and _: make migration NAME=bookmarks\n"
