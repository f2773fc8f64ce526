"""docs/extending.md, followed to the letter on a copy of the tree."""

import re
from difflib import SequenceMatcher
from pathlib import Path

import pytest

from scripts.extending import RESOURCE, chapter, has_steps
from tests.copies import ALL_METHODS, DRIFT, ROOT, TEXT, copy_project, follow, run

RULE, COUNT, FIELD = "A business rule", "A rule that needs a count from the database", "A new field"
TOKEN = "A rule that depends on the token"
REACTION = "Something that follows a change"
TASK = "Something regular"

# Of the tests with a case for each route, the cases of the new routes.
BY_ROUTE = ("test_every_role", "test_each_request", "test_every_documented_response")
NEW_ROWS = f"-k=bookmark or not ({' or '.join(BY_ROUTE)} or (test_posts and postgresql))"

# A copy of the project and a run of the tests take seconds, so most chapters share one. The others
# are apart because of existing tests: some write more drafts than the count allows, some count the
# jobs that a post adds, and some list all scopes and jobs.
TOGETHER = {
    RULE: [
        "tests/application/test_posts.py",
        "tests/domain/test_posts.py",
        "tests/api/test_promise.py",
    ],
    FIELD: [
        "tests/api/test_posts.py",
        "tests/contracts/test_idempotency.py",
        "tests/infrastructure/test_mapping.py",
        DRIFT,
    ],
    RESOURCE: [
        "tests/test_architecture.py",
        "tests/test_openapi.py",
        "tests/api/test_routes.py",
        "tests/api/test_authorization.py",
        ALL_METHODS,
        "tests/api/test_query_counts.py",
        "tests/api/test_documented.py",
        NEW_ROWS,
    ],
    TASK: [],
}
APART = {COUNT: ["tests/application", "tests/domain/test_posts.py"], TOKEN: []}
CHAPTERS = {RULE: TOGETHER, COUNT: APART, REACTION: {REACTION: ["tests/api/test_posts.py"]}}
"""What is run after a chapter, beside its own tests; by the first one of those in one tree."""

PROMISE = """
from tests.api.client import ApiClient, problem_of


async def test_a_client_hears_of_the_rule(api: ApiClient) -> None:
    body = {"title": "HELLO", "content": "First post."}
    anna = await api.person()

    for method, path in (("POST", "/posts"), ("PUT", f"/posts/{(await api.post(anna))['id']}")):
        answer = await api.client.request(method, path, json=body, headers=anna.headers)
        assert problem_of(answer, 422, "shouting")["detail"] == "a title is not all capitals"
"""


def sources(tree: Path) -> dict[str, str]:
    return {str(file.relative_to(tree)): file.read_text() for file in tree.rglob("*.py")}


def hunks(before: dict[str, str], after: dict[str, str]) -> dict[str, list[list[str]]]:
    """The lines that each file of `before` has more in `after`, by hunk. New files are left out."""
    found = {}
    for path, text in before.items():
        if text != after[path]:
            old, new = text.splitlines(), after[path].splitlines()
            changes = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
            found[path] = [new[c:d] for kind, _, _, c, d in changes if kind != "equal"]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("first", CHAPTERS)
def test_the_code_of_the_chapters_works_and_costs_what_they_say(first: str, tmp_path: Path) -> None:
    copy_project(tmp_path)
    new, costs, before = [], {}, sources(tmp_path)
    for title in CHAPTERS[first]:
        tests = follow(chapter(TEXT, title), tmp_path)
        assert tests, title
        new += tests
        after = sources(tmp_path)
        costs[title], before = hunks(before, after), after

    if first == RULE:
        (tmp_path / "tests" / "api" / "test_promise.py").write_text(PROMISE)
        assert list(costs[RULE]) == ["domain/posts.py"]
        assert 1 <= len(costs[FIELD]) <= 4
        assert sum(map(len, costs[FIELD].values())) <= 8
        assert 1 <= len(costs[RESOURCE]) <= 4
        for path, (*more, lines) in costs[RESOURCE].items():
            assert not more, path
            assert len(lines) == 1, path

    run(tmp_path, "ruff", "format", "--no-cache", ".")
    run(tmp_path, "ruff", "check", "--no-cache", ".")
    run(tmp_path, "lint-imports", "--no-cache")
    (tmp_path / "tests" / "openapi.json").write_text(run(tmp_path, "gatepost", "openapi"))
    tested = [test for tests in CHAPTERS[first].values() for test in tests]
    run(tmp_path, "pytest", "-q", "-p", "no:cacheprovider", *new, *tested)


def test_the_tests_whose_cases_are_chosen_by_name_exist() -> None:
    tests = "".join(file.read_text() for file in (ROOT / "tests" / "api").glob("test_*.py"))

    assert [name for name in BY_ROUTE if f"def {name}_" not in tests] == []


def test_all_chapters_with_steps_are_followed() -> None:
    titles = re.findall(r"^## (.+)$", TEXT, re.MULTILINE)

    assert [title for title in titles if has_steps(chapter(TEXT, title))] == [
        RULE,
        COUNT,
        TOKEN,
        FIELD,
        RESOURCE,
        REACTION,
        TASK,
    ]
