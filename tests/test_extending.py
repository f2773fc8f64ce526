"""docs/extending.md, followed to the letter on a copy of the tree."""

import os
import re
import shutil
import subprocess
import sys
from difflib import SequenceMatcher
from pathlib import Path
from textwrap import dedent

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "extending.md"

_BLOCK = re.compile(r"^ *```(python)?\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
_PLACE = re.compile(
    r"# (?P<file>\S+\.py)(?:, (?P<where>(?:above|below)(?: each)?|instead of): (?P<line>.+))?\n"
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the project, without what is in no program and in no test."""
    ignored = shutil.ignore_patterns("__pycache__")
    for part in ROOT.iterdir():
        if (
            part.is_dir()
            and part.name not in ("benchmarks", "build", "docs")
            and part.name[0] != "."
        ):
            shutil.copytree(part, tmp_path / part.name, ignore=ignored)
        elif part.suffix in (".py", ".toml") or part.name == "Makefile":
            shutil.copy(part, tmp_path)
    return tmp_path


def chapter(title: str) -> str:
    _, found, rest = PAGE.read_text().partition(f"\n## {title}\n")
    assert found, f"there is no chapter {title}"
    return rest.partition("\n## ")[0]


def follow(text: str, tree: Path) -> list[str]:
    """Do what the blocks in `text` say, and run their commands; the tests that are new with it."""
    tests = []
    for language, indented in _BLOCK.findall(text):
        block = dedent(indented)
        if not language:
            make(tree, block.split())
            continue
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


def make(tree: Path, command: list[str]) -> None:
    """Run `make` with the programs of this environment."""
    name, *arguments = command
    assert name == "make"
    done = subprocess.run(
        ["make", *arguments, f"BIN={Path(sys.executable).parent}", "DEV="],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout + done.stderr


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
        timeout=400,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


DRIFT = "tests/test_migrations.py::test_models_and_schema_do_not_drift_apart"
ALL_METHODS = "tests/api/test_middleware.py::test_the_table_lists_exactly_the_existing_routes"
CHAPTERS = {
    "A business rule": ["tests/application"],
    "A rule that needs a count from the database": ["tests/application", "tests/domain"],
    "A rule that depends on the token": ["tests/application", "tests/domain"],
    "A new field": [
        "tests/application",
        "tests/api/test_posts.py",
        "tests/contracts/test_idempotency.py",
        "tests/domain",
        "tests/infrastructure/test_mapping.py",
        DRIFT,
    ],
    "A new resource": [
        "tests/test_architecture.py",
        "tests/test_openapi.py",
        "tests/api/test_routes.py",
        "tests/api/test_authorization.py",
        ALL_METHODS,
        "tests/api/test_query_counts.py",
        "tests/api/test_documented.py",
        DRIFT,
        # Of the tables, only the rows that are new.
        "-k=bookmark or not (every_role_gets or has_the_expected_queries or response_occurs)",
    ],
    "Something that follows a change": ["tests/test_architecture.py", "tests/api/test_posts.py"],
    "Something regular": ["tests/test_architecture.py", DRIFT],
}


def hunks(tree: Path) -> dict[str, list[list[str]]]:
    """The lines that each file that was there before has more, by hunk. What a command writes is
    left out.
    """
    found = {}
    for file in sorted(tree.rglob("*.py")):
        path = file.relative_to(tree)
        if (ROOT / path).exists() and file.read_bytes() != (ROOT / path).read_bytes():
            before, after = (it.read_text().splitlines() for it in (ROOT / path, file))
            changes = SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
            found[str(path)] = [after[c:d] for kind, _, _, c, d in changes if kind != "equal"]
    return found


def test_a_field_costs_at_most_eight_hunks_in_four_files(tree: Path) -> None:
    follow(chapter("A new field"), tree)

    changed = hunks(tree)

    assert 1 <= len(changed) <= 4
    assert sum(map(len, changed.values())) <= 8


def test_a_resource_costs_at_most_one_line_in_each_of_four_shared_files(tree: Path) -> None:
    follow(chapter("A new resource"), tree)

    changed = hunks(tree)

    assert 1 <= len(changed) <= 4
    for path, (*more, lines) in changed.items():
        assert not more, path
        assert len(lines) == 1, path


@pytest.mark.parametrize("title", CHAPTERS)
def test_the_code_of_a_chapter_works(title: str, tree: Path) -> None:
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


async def test_a_client_hears_of_the_rule(api: ApiClient) -> None:
    body = {"title": "HELLO", "content": "First post."}
    anna = await api.person()

    for method, path in (("POST", "/posts"), ("PUT", f"/posts/{(await api.post(anna))['id']}")):
        answer = await api.client.request(method, path, json=body, headers=anna.headers)
        assert problem_of(answer, 422, "shouting")["detail"] == "a title is not all capitals"
"""


def test_a_new_rule_is_an_answer_to_clients_with_no_change_elsewhere(tree: Path) -> None:
    follow(chapter("A business rule"), tree)
    (tree / "tests" / "api" / "test_promise.py").write_text(PROMISE)

    run(tree, "pytest", "-q", "-p", "no:cacheprovider", "tests/api/test_promise.py")
    assert list(hunks(tree)) == ["domain/posts.py"]


def test_all_chapters_with_steps_are_followed() -> None:
    titles = re.findall(r"^## (.+)$", PAGE.read_text(), re.MULTILINE)

    assert [title for title in titles if _BLOCK.search(chapter(title))] == list(CHAPTERS)
