"""docs/extending.md, followed to the letter on a copy of the tree."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from infrastructure.database import schema

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "extending.md"

_BLOCK = re.compile(r"^ *```python\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
_PLACE = re.compile(
    r"# (?P<file>\S+\.py)(?:, (?P<where>(?:above|below)(?: each)?|instead of): (?P<line>.+))?\n"
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of all that is of this project and of its tests."""
    for part in ("api", "application", "demo", "domain", "infrastructure", "tests"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("checks.py", "cli.py", "main.py", "pyproject.toml"):
        shutil.copy(ROOT / file, tmp_path)
    return tmp_path


def chapter(title: str) -> str:
    _, found, rest = PAGE.read_text().partition(f"\n## {title}\n")
    assert found, f"there is no chapter {title}"
    return rest.partition("\n## ")[0]


def follow(text: str, tree: Path) -> list[str]:
    """Do what the blocks in `text` say; the tests that are new with it."""
    tests = []
    for indented in _BLOCK.findall(text):
        block = dedent(indented).replace("NEWEST", schema.newest())
        place = _PLACE.match(block)
        assert place, f"this block does not say where it goes:\n{block}"
        lines = block[place.end() :].splitlines(keepends=True)
        if not block[place.end() :].startswith("    ") and place["line"] is None:
            assert not (tree / place["file"]).exists()
            (tree / place["file"]).write_text("".join(lines))
            if "/test_" in place["file"]:
                tests.append(place["file"])
        else:
            insert(tree / place["file"], place["where"], place["line"], lines)
    return tests


def insert(file: Path, where: str, anchor: str, new: list[str]) -> None:
    lines = file.read_text().splitlines(keepends=True)
    places = [n for n, line in enumerate(lines) if line.strip() == anchor]
    assert len(places) == 1 or (places and where.endswith(" each")), f"{file}: {anchor}: {places}"
    for at in reversed(places):
        start = at + where.startswith("below")
        end = at + (where == "instead of")
        lines[start : max(start, end)] = new
    file.write_text("".join(lines))


def run(tree: Path, tool: str, *arguments: str) -> str:
    done = subprocess.run(
        [Path(sys.executable).with_name(tool), *arguments],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


DRIFT = "tests/test_migrations.py::test_models_and_schema_do_not_drift_apart"
TABLE_OF_METHODS = "tests/api/test_middleware.py::test_the_table_of_this_file_names_every_route"
CHAPTERS = {
    "A business rule": ["tests/application"],
    "A rule that needs a count from the database": ["tests/application", "tests/domain"],
    "A new field": ["tests/application", DRIFT],
    "A new resource": [
        "tests/test_architecture.py",
        "tests/test_openapi.py",
        "tests/api/test_routes.py",
        "tests/api/test_authorization.py",
        TABLE_OF_METHODS,
        DRIFT,
        "-k=bookmark or not everybody_is_answered",  # of the matrix, the rows that are new
    ],
}


@pytest.mark.parametrize("title", CHAPTERS)
def test_a_chapter_does_what_it_promises(title: str, tree: Path) -> None:
    new = follow(chapter(title), tree)

    assert new
    run(tree, "ruff", "format", "--no-cache", ".")
    run(tree, "ruff", "check", "--no-cache", ".")
    run(tree, "lint-imports", "--no-cache")
    (tree / "tests" / "openapi.json").write_text(run(tree, "gatepost", "openapi"))
    run(tree, "pytest", "-q", "-p", "no:cacheprovider", *new, *CHAPTERS[title])


PROMISE = """
from api.app import create_app
from tests.api.client import ApiClient, problem_of


async def test_a_client_hears_of_the_rule(gate: ApiClient) -> None:
    body = {"title": "HELLO", "content": "First post."}
    anna = await gate.person()

    for method, path in (("POST", "/posts"), ("PUT", f"/posts/{(await gate.post(anna))['id']}")):
        answer = await gate.client.request(method, path, json=body, headers=anna.headers)
        assert problem_of(answer, 422, "shouting")["detail"] == "a title is not all capitals"
"""


def test_a_new_rule_is_an_answer_to_clients_with_no_change_elsewhere(tree: Path) -> None:
    follow(chapter("A business rule"), tree)
    (tree / "tests" / "api" / "test_promise.py").write_text(PROMISE)

    run(tree, "pytest", "-q", "-p", "no:cacheprovider", "tests/api/test_promise.py")
    changed = [
        file.relative_to(tree)
        for file in tree.rglob("*.py")
        if (ROOT / file.relative_to(tree)).exists()
        and file.read_bytes() != (ROOT / file.relative_to(tree)).read_bytes()
    ]
    assert changed == [Path("domain/posts.py")]


def test_chapters_that_have_steps_are_all_followed() -> None:
    titles = re.findall(r"^## (.+)$", PAGE.read_text(), re.MULTILINE)

    assert [title for title in titles if _BLOCK.search(chapter(title))] == list(CHAPTERS)
