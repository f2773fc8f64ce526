"""`make resource`: the chapter "A new resource" of docs/extending.md, under another name."""

import ast
import shutil
import subprocess
from pathlib import Path

import pytest

from scripts.extending import PAGE, RESOURCE, BadPage, Edit, NewFile, chapter, steps
from scripts.resource import Names as NamesOf
from scripts.resource import Refused, plan, renamed, write
from tests.copies import ALL_METHODS, DRIFT, ROOT, TEXT, copy_project, make, run


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "must be a plural"),
        ("bookmark", "must be a plural"),
        ("status", "must be a plural"),
        ("reading-lists", "must be words"),
        ("Lists", "must be words"),
        ("../notes", "must be words"),
        ("extraordinarily_long_lists", "at most 20 characters"),
        ("lists", "Python has a list"),
        ("classes", "Python has a class"),
        ("owners", "the example uses OWNER"),
        ("posts", "for something else"),
    ],
)
def test_a_name_that_does_not_fit_is_refused_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        plan(TEXT, name)


@pytest.mark.parametrize(
    ("many", "one"),
    [
        ("stories", "story"),
        ("boxes", "box"),
        ("batches", "batch"),
        ("reading_lists", "reading_list"),
    ],
)
def test_the_singular_is_made_from_the_plural(many: str, one: str) -> None:
    assert NamesOf.of(many) == NamesOf(one, many)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("class BookmarkRow(Row): ...", "class ReadingListRow(Row): ..."),
        ("raise TooManyBookmarks", "raise TooManyReadingLists"),
        ('BOOKMARKS = "bookmarks"', 'READING_LISTS = "reading_lists"'),
        ('"/posts/{post_id}/bookmark"', '"/posts/{post_id}/reading-list"'),
        ('f"/posts/{post}/bookmark"', 'f"/posts/{post}/reading-list"'),
        ('"GET /bookmarks"', '"GET /reading-lists"'),
        ('"""Bookmarks of a user."""', '"""Reading lists of a user."""'),
        ('"""Raises `TooManyBookmarks`, if `bookmarks` is full."""',
         '"""Raises `TooManyReadingLists`, if `reading_lists` is full."""'),
        ("x = 1  # a bookmark", "x = 1  # a reading list"),
    ],
)  # fmt: skip
def test_names_follow_the_case_and_the_place_of_the_example_s(code: str, expected: str) -> None:
    assert renamed(code, NamesOf.of("reading_lists")) == expected


def test_the_name_of_the_example_gives_the_files_of_the_page() -> None:
    assert plan(TEXT, "bookmarks") == list(steps(chapter(TEXT, RESOURCE)))


def test_nothing_of_the_example_s_name_is_left() -> None:
    for step in plan(TEXT, "reading_lists"):
        assert "bookmark" not in str(step).lower()
        if isinstance(step, NewFile):
            ast.parse(step.text)


def test_the_longest_name_makes_no_line_too_long(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for number, step in enumerate(plan(TEXT, "longer_reading_lists")):
        if isinstance(step, NewFile):
            (tmp_path / f"new_{number}.py").write_text(step.text)
        elif isinstance(step, Edit):
            assert max(map(len, step.text.splitlines())) <= 100

    run(tmp_path, "ruff", "format", "--no-cache", ".")
    run(tmp_path, "ruff", "check", "--no-cache", "--select=E501", ".")


LAYERS = ("api", "application", "domain", "infrastructure", "tests")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Only the files that are edited have a content."""
    for layer in LAYERS:
        for file in (ROOT / layer).rglob("*.py"):
            empty = tmp_path / file.relative_to(ROOT)
            empty.parent.mkdir(parents=True, exist_ok=True)
            empty.touch()
    for path in (PAGE, Path("application/concepts.py"), Path("domain/scopes.py")):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    return tmp_path


def files(tree: Path) -> set[str]:
    return {str(file.relative_to(tree)) for file in tree.rglob("*.py")}


def test_a_name_that_is_taken_is_refused_and_nothing_is_written(tree: Path) -> None:
    (tree / "api" / "stories.py").touch()
    before = files(tree)

    with pytest.raises(Refused, match=r"api/stories.py is there already"):
        write(tree, "stories")

    assert files(tree) == before


def test_changes_that_are_not_committed_are_not_mixed_with_new_ones(tree: Path) -> None:
    with pytest.raises(
        Refused, match=r"commit or undo your changes first: application/concepts.py"
    ):
        write(tree, "stories")


def test_a_tree_that_lacks_what_the_example_needs_is_refused(tree: Path) -> None:
    (tree / "application" / "services.py").unlink()

    with pytest.raises(BadPage, match=r"would import application.services, which is not here"):
        write(tree, "stories")


def test_a_tree_that_the_page_does_not_fit_is_refused(tree: Path) -> None:
    (tree / "application" / "concepts.py").write_text('CONCEPTS = ("users",)\n')

    with pytest.raises(BadPage, match=r"application/concepts.py has 0 lines that are: "):
        write(tree, "stories")


# Of the tests with a case for each route, the cases of the new routes.
NEW_CASES = "-k=reading or not (test_every or test_each_request)"


@pytest.mark.slow
def test_a_new_resource_passes_the_gates_and_its_tests(tmp_path: Path) -> None:
    copy_project(tmp_path)
    (tmp_path / PAGE).parent.mkdir()
    shutil.copy(ROOT / PAGE, tmp_path / PAGE)

    printed = make(tmp_path, "make", "resource", "NAME=reading_lists")

    assert "tests/api/test_reading_lists.py" in printed
    again = make(tmp_path, "make", "resource", "NAME=reading_lists", status=2)
    assert "NAME=reading_lists: domain/reading_lists.py is there already" in again
    for gate in (("ruff", "format", "--check"), ("ruff", "check"), ("lint-imports",)):
        run(tmp_path, *gate, "--no-cache")
    run(tmp_path, "mypy", "--cache-dir", str(tmp_path / "mypy"))
    (tmp_path / "tests" / "openapi.json").write_text(run(tmp_path, "gatepost", "openapi"))
    own = [str(file) for file in tmp_path.glob("tests/*/test_reading_lists.py")]
    assert len(own) == 4
    census = ("tests/test_architecture.py", "tests/test_openapi.py", "tests/api/test_routes.py")
    by_route = ("tests/api/test_authorization.py", "tests/api/test_documented.py", NEW_CASES)
    tested = (*own, *census, *by_route, ALL_METHODS, DRIFT)
    run(tmp_path, "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", *tested)
