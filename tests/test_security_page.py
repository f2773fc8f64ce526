"""docs/security.md names tests; here it is held to that."""

import re
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "security.md"


def missing(page: str) -> list[str]:
    """The tests that `page` names and that are not there."""
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", page)
    return [
        f"{file}::{name}"
        for file, name in named
        if not (TESTS / file).exists()
        or not re.search(rf"^(async )?def {name}\(", (TESTS / file).read_text(), re.MULTILINE)
    ]


def test_every_test_that_the_page_names_exists() -> None:
    page = PAGE.read_text()

    assert page.count(".py::") > 50
    assert missing(page) == []


def test_a_missing_test_is_detected() -> None:
    here = "test_security_page.py"
    page = f"`{here}::test_nothing` `nowhere.py::test_x` `{here}::test_every_test_that_the_page`"

    assert len(missing(page)) == 3


def test_modules_with_ignored_advisories_are_never_imported() -> None:
    program = "import sys, cli, main; print({'ecdsa', 'rsa', 'jose.jwe'} & sys.modules.keys())"

    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=TESTS.parent,
        check=True,
        capture_output=True,
        text=True,
    )

    assert done.stdout == "set()\n"
