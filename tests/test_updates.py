"""`make updates`: products with changes of their own take a newer release.

The newer release is made up: it changes every layer, adds a column and a revision of the schema,
and has a new snapshot of the OpenAPI document.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.extending import RESOURCE, NewFile, chapter, steps
from scripts.updates import MANIFEST, VERSIONS, git, numbered
from tests.copies import DRIFT, TEXT, follow
from tests.products import AUTHOR, Product, clone, product
from tests.test_extending import FIELD, RULE

REVISION = '''"""What a session is called."""

import sqlalchemy as sa
from alembic import op

revision = "{number}"
down_revision = "{last}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sessions", sa.Column("label", sa.String()))


def downgrade() -> None:
    op.drop_column("sessions", "label")
'''

Fork = Callable[[Path], None]


def edit(tree: Path, path: str, old: str, new: str) -> None:
    text = (tree / path).read_text()
    assert text.count(old) == 1, f"{path}: {old}"
    (tree / path).write_text(text.replace(old, new))


def commit(tree: Path, message: str) -> None:
    git(tree, "add", "--all")
    environment = {**os.environ, **AUTHOR}
    command = ["git", "commit", "--quiet", "--no-verify", "-m", message]
    subprocess.run(command, cwd=tree, env=environment, check=True)


def release(tree: Path) -> None:
    """The next release, which changes something in every layer."""
    edit(tree, "pyproject.toml", 'version = "0.1.0"', 'version = "0.2.0"')
    edit(
        tree,
        "domain/users.py",
        "class EmailTaken(Conflict):",
        "class EmailTaken(Conflict):\n    # By another account.",
    )
    with (tree / "domain/posts.py").open("a") as file:
        file.write('\n\nLONGEST = 100_000\n"""Characters of a post\'s content."""\n')
    with (tree / "application/posts.py").open("a") as file:
        file.write("\n\nRELEASE = 2\n")
    row = "infrastructure/database/sessions.py"
    edit(
        tree,
        row,
        "    user_agent: str | None\n",
        "    user_agent: str | None\n    label: str | None = None\n",
    )
    last = max(file.name for file in (tree / VERSIONS).glob("*.py"))[:4]
    number = f"{int(last) + 1:04}"
    revision = REVISION.format(number=number, last=last)
    (tree / VERSIONS / f"{number}_labels.py").write_text(revision)
    edit(tree, "api/app.py", '"A REST API with', '"A newer REST API with')
    with (tree / "docs/operating.md").open("a") as file:
        file.write("\nGatepost has labels now.\n")
    with (tree / "tests/domain/test_users.py").open("a") as file:
        file.write("\n\ndef test_a_release_has_tests() -> None:\n    assert True\n")
    snapshot(tree)
    commit(tree, "Release 0.2.0")


def snapshot(tree: Path) -> None:
    command = [sys.executable, "-c", "import start; start.main()", "openapi"]
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    with (tree / "tests/openapi.json").open("w") as file:
        subprocess.run(command, cwd=tree, env=environment, stdout=file, check=True)


def a_rule(tree: Path) -> None:
    follow(chapter(TEXT, RULE), tree)


def a_field(tree: Path) -> None:
    follow(chapter(TEXT, FIELD), tree)
    snapshot(tree)


def a_resource(tree: Path) -> None:
    follow(chapter(TEXT, RESOURCE), tree)
    snapshot(tree)


FORKS = ((a_rule, RULE, 0), (a_field, FIELD, 0), (a_resource, RESOURCE, 2))


@pytest.mark.slow
def test_products_with_changes_of_their_own_take_a_newer_release(tmp_path: Path) -> None:
    acme = product(tmp_path / "acme", "acme")
    release(clone(tmp_path / "newer"))
    start = git(acme.tree, "rev-parse", "HEAD")

    for fork, title, most in FORKS:
        git(acme.tree, "checkout", "--quiet", "-b", fork.__name__, start)
        git(acme.tree, "branch", "--force", "base", start)
        fork(acme.tree)
        acme.run("ruff", "format", "--quiet", "--no-cache", ".")
        commit(acme.tree, title)
        check_update(acme, tmp_path / "newer", title, most)


def check_update(acme: Product, newer: Path, title: str, most: int) -> None:
    make = ("make", "updates", f"FROM={newer}", "DEV=")
    said = acme.run(*make)
    assert "Merged" in said
    assert most >= 0
    assert acme.run("git", "status", "--porcelain") == ""
    assert '"version": "0.2.0"' in (acme.tree / MANIFEST).read_text()
    assert "Acme has labels now." in (acme.tree / "docs/operating.md").read_text()
    acme.lint()
    new = [
        step.path
        for step in steps(chapter(TEXT, title))
        if isinstance(step, NewFile) and "/test_" in step.path
    ]
    sqlite = ["-k", "not postgresql"]
    acme.test(*sqlite, "tests/test_openapi.py", DRIFT, *new)
    assert "has this release already" in acme.run(*make, status=2)
    if title == RULE:  # an update that was undone can be made again
        acme.run("git", "reset", "--quiet", "--hard", "HEAD~1")
        assert "Merged" in acme.run(*make)


def test_a_revision_is_renumbered_with_its_predecessor() -> None:
    text = numbered(REVISION.format(number="0024", last="0023"), "0031", "0030")

    assert text == REVISION.format(number="0031", last="0030")
