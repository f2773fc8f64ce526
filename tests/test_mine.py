"""`make mine`: a clone becomes a team's own product. It is the last commit that is tested."""

import re
import shutil
from pathlib import Path

import pytest

from scripts import example
from scripts.mine import check
from scripts.rendering import BASE_ONLY, KEPT, LICENSE, Answers, renamed, render, unmarked
from scripts.updates import MANIFEST, VERSIONS, Refused, git
from tests.products import ROOT, Product, clone, product

MIGRATIONS = "tests/test_migrations.py"
TOUR = "tests/journeys/test_the_tour.py"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "must be"),
        ("a", "must be"),
        ("Acme", "must be"),
        ("acme-shop", "must be"),
        ("4you", "must be"),
        ("acmeandsons2", "must be"),
        ("lambda", "must be"),
        ("json", "Python has"),
        ("domain", "uses this word"),
        ("fastapi", "uses this word"),
        ("gatepost", "uses this word"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(Refused, match=f"NAME={name}: .*{reason}"):
        check(ROOT, name, [])


def test_only_the_example_can_be_left_out() -> None:
    with pytest.raises(Refused, match="only `posts` can be left out"):
        check(ROOT, "acme", ["users"])


def test_a_tree_with_uncommitted_changes_is_refused(tmp_path: Path) -> None:
    clone(tmp_path / "clone")
    (tmp_path / "clone" / "notes.txt").write_text("mine")

    with pytest.raises(Refused, match="uncommitted changes"):
        check(tmp_path / "clone", "acme", [])


def test_names_keep_their_case_and_contexts_of_keys_are_never_renamed() -> None:
    text = "Gatepost's `gatepost check` reads GATEPOST_URL, not xgatepost_y"

    assert renamed(text, "acme") == "Acme's `acme check` reads ACME_URL, not xacme_y"
    assert renamed(" ".join(KEPT), "acme") == " ".join(KEPT)


def test_every_context_of_a_key_is_kept() -> None:
    """A byte string with the name in it goes into a digest or a key."""
    sources = [
        path
        for path in git(ROOT, "ls-files", "*.py").splitlines()
        if path.startswith(("api/", "application/", "domain/", "infrastructure/", "main.py"))
    ]
    lines = [
        line
        for path in sources
        for line in (ROOT / path).read_text().splitlines()
        if "gatepost" in line.lower() and re.search(r"\bb\"|encode\(", line)
    ]

    assert len(lines) == 3
    assert all(any(kept in line for kept in KEPT) for line in lines), lines


MARKED = '''
import a
import b  # posts only
from c import (  # posts only
    d,
)


@decorated  # posts only
def cut() -> None:
    return None


class Kept:
    one: int = 1  # posts only
    """Goes with it."""
    two: int = 2
    """Stays."""
    # begin: posts only
    three = 3
    # end: posts only


KEPT = [
    1,
    call(  # posts only
        2,
    ),
    3,
]
'''

CUT = '''
import a


class Kept:
    two: int = 2
    """Stays."""


KEPT = [
    1,
    3,
]
'''


def test_a_mark_covers_all_that_begins_on_its_line() -> None:
    def lines(text: str) -> list[str]:
        return [line for line in text.splitlines() if line]

    assert lines(unmarked(MARKED, ["posts"], is_python=True)) == lines(CUT)
    whole = unmarked(MARKED, ["base"], is_python=True)
    assert "only" not in whole
    assert len(whole.splitlines()) == len(MARKED.splitlines()) - 2


def test_a_block_that_does_not_end_is_refused() -> None:
    for text in ("# begin: posts only\nx\n", "# end: posts only\n"):
        with pytest.raises(ValueError, match=r"line 1|does not end"):
            unmarked(text, ["base"], is_python=False)


EXAMPLE = re.compile(r"\bposts\b|\bvotes?\b|Posts?(?!gre)[A-Z]|POSTS")
KNOWING = """
    api/middleware.py
    application/concepts.py application/ports/queries.py application/ports/storage.py
    application/services.py
    checks.py cli.py
    domain/scopes.py domain/webhooks.py
    infrastructure/database/events.py infrastructure/database/migrations/generate.py
    infrastructure/database/purge.py infrastructure/database/queries.py
    infrastructure/database/users.py infrastructure/settings.py
    main.py
    scripts/screenshots.py
"""
"""The files of the service that know the example though they are not its own. Fewer are better."""


def test_the_shared_files_that_know_the_example_are_few_and_mark_it() -> None:
    knowing, unmarked_files = [], []
    for path in git(ROOT, "ls-files", "*.py", "*.html").splitlines():
        if path.startswith((*example.FILES, *BASE_ONLY, "tests/", VERSIONS)):
            continue
        text = (ROOT / path).read_text()
        left = unmarked(text, ["base", "posts"], is_python=path.endswith(".py"))
        if left != unmarked(text, ["base"], is_python=path.endswith(".py")):
            knowing.append(path)
        if EXAMPLE.search(left):
            unmarked_files.append(path)

    assert unmarked_files == [], "mark what is for posts alone: # posts only"
    assert knowing == KNOWING.split()


def only_what_stays_named(product: Product) -> None:
    found = product.run("git", "grep", "-iI", "gatepost").splitlines()

    unexpected = [
        line
        for line in found
        if not line.startswith((f"{LICENSE}:", f"{MANIFEST}:"))
        and not any(kept in line for kept in KEPT)
    ]
    assert unexpected == []


@pytest.mark.slow
def test_a_renamed_product_is_sound_and_serves(tmp_path: Path) -> None:
    acme = product(tmp_path / "acme", "acme")

    only_what_stays_named(acme)
    assert acme.run("git", "status", "--porcelain") == ""
    assert acme.run("acme", "--version") == "acme 0.1.0\n"
    assert acme.run("git", "rev-parse", "base") == acme.run("git", "rev-parse", "HEAD")
    again = acme.run("make", "mine", "NAME=other", "DEV=", status=2)
    assert "No rule to make target 'mine'" in again
    with pytest.raises(Refused, match="this is acme already"):
        check(acme.tree, "other", [])
    acme.lint()
    acme.test("tests/test_openapi.py", "tests/infrastructure/test_environment.py", TOUR)


@pytest.mark.slow
def test_a_product_without_posts_passes_its_gates_and_serves(tmp_path: Path) -> None:
    acme = product(tmp_path / "acme", "acme", "posts")

    only_what_stays_named(acme)
    sources = acme.run("git", "ls-files", "*.py", "*.html", "tests/openapi.json").splitlines()
    named = [path for path in sources if EXAMPLE.search((acme.tree / path).read_text())]
    assert [path for path in named if not path.startswith("tests/api/")] == []
    versions = "infrastructure/database/migrations/versions/"
    assert acme.run("git", "ls-files", versions) == f"{versions}0001_first.py\n"
    acme.lint()
    acme.run("lint-imports", "--no-cache")
    if (ROOT / ".mypy_cache").exists():
        shutil.copytree(ROOT / ".mypy_cache", acme.tree / ".mypy_cache")
    acme.run("mypy")
    acme.test(
        "-m",
        "not slow",
        "tests/domain/test_users.py",
        "tests/test_architecture.py",
        "tests/test_openapi.py",
        "tests/test_security_page.py",
        "tests/api/test_webhooks.py",
        f"{MIGRATIONS}::test_models_and_schema_do_not_drift_apart",
        f"{MIGRATIONS}::test_a_database_is_migrated_up_down_and_up",
        TOUR,
    )


@pytest.mark.slow
def test_the_same_answers_give_the_same_bytes(tmp_path: Path) -> None:
    trees = set()
    for number in range(2):
        tree = clone(tmp_path / str(number))
        render(tree, Answers(version="1", commit="x", name="acmeaccount", without=["posts"]))
        git(tree, "add", "--all")
        trees.add(git(tree, "write-tree"))

    assert len(trees) == 1
