"""Makes this clone a team's own product: `make mine NAME=acme [WITHOUT=posts]`.

Commits the rendering (`scripts.rendering`), and leaves the branch `base` on it: `make updates`
merges later releases from there.
"""

import argparse
import keyword
import re
import subprocess
import sys
from pathlib import Path

from scripts.rendering import (
    BASE_ONLY,
    STARTING,
    Answers,
    render,
    text_of,
    tracked,
    unmarked,
)
from scripts.updates import BRANCH, MANIFEST, Refused, git, version_of

_NAME = re.compile(r"[a-z][a-z0-9]{1,10}")


def check(tree: Path, name: str, without: list[str]) -> None:
    """Raises `Refused` unless the tree can be rendered with these answers."""
    if (tree / MANIFEST).exists():
        raise Refused(f"this is {Answers.read(tree).name} already: {MANIFEST} says so")
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise Refused(
            f"NAME={name}: must be 2 to 11 of a-z and 0-9, begin with a letter, and be no keyword"
        )
    if name in sys.stdlib_module_names:
        raise Refused(f"NAME={name}: Python has a module of this name")
    if unknown := [each for each in without if each != "posts"]:
        raise Refused(f"WITHOUT={unknown[0]}: only `posts` can be left out")
    if file := _file_with(tree, name):
        raise Refused(f"NAME={name}: {file} uses this word")
    if git(tree, "status", "--porcelain"):
        raise Refused("there are uncommitted changes: commit them, or take a fresh clone")


def _file_with(tree: Path, name: str) -> str | None:
    """A file that has `name` as a word: nobody could tell the two meanings apart later."""
    word = re.compile(rf"(?<![a-z0-9]){name}(?![a-z0-9])", re.IGNORECASE)
    for path in tracked(tree):
        text = None if path.startswith(BASE_ONLY) or path in STARTING else text_of(tree / path)
        if text and word.search(unmarked(text, ["base"], is_python=path.endswith(".py"))):
            return path
    return None


def mine(tree: Path, name: str, without: list[str]) -> Answers:
    """Render the tree and commit it. Raises `Refused`, and changes nothing, if it cannot be."""
    check(tree, name, without)
    answers = Answers(
        version=version_of(tree),
        commit=git(tree, "rev-parse", "HEAD"),
        name=name,
        without=sorted(without),
    )
    render(tree, answers)
    git(tree, "add", "--all")
    git(tree, "commit", "--quiet", "--no-verify", f"--message=Start {name} from {answers.source}")
    git(tree, "branch", BRANCH)
    return answers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--without", default="", help="posts")
    given = parser.parse_args()
    try:
        answers = mine(Path.cwd(), given.name, given.without.split())
    except Refused as refusal:
        sys.exit(f"make mine: {refusal}")
    except subprocess.CalledProcessError as failure:
        sys.exit(f"make mine: {failure.cmd[0]} failed; `git reset --hard` undoes what was done")
    print(f"This is {answers.name} now. `make check` tests it, `make run` serves it.")


if __name__ == "__main__":
    main()
