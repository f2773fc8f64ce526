"""Renders this tree as a team's own product: `make mine` and `make updates` call `render`.

Rendering changes the files in place. The same tree and answers give the same bytes. Lines that
stay behind are marked:

- `# base only` at the end of a line, or between `# begin: base only` and `# end: base only`, marks
  what concerns Gatepost alone. It leaves every rendering.
- `# posts only` marks what the example needs in files that it shares. It leaves WITHOUT=posts.

In Python a mark covers all that begins on its line: a definition, a statement, an element of a
list. Markdown, HTML and TypeScript have the marks in their comments,
`<!-- begin: base only -->`.
"""

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path

from scripts import example
from scripts.updates import MANIFEST, VERSIONS, git, numbered

LICENSE = "LICENSE"
OLD = "gatepost"

KEPT = (
    MANIFEST,
    "gatepost {purpose}",  # main.py: keys derived from SECRET_KEY
    "gatepost pepper id",  # infrastructure/passwords.py: names the pepper beside each hash
    "Gatepost kid",  # infrastructure/tokens/jose.py: names a secret in the header of tokens
)
"""Never renamed: an installation would lose its keys, and with them its passwords and sessions."""

BASE_ONLY = (
    "benchmarks/",
    "docs/decisions/0047-products.md",
    "scripts/example.py",
    "scripts/mine.py",
    "scripts/rendering.py",
    "scripts/starting/",
    "tests/products.py",
    "tests/test_mine.py",
    "tests/test_updates.py",
)
"""Files that concern Gatepost alone. A folder ends in a slash."""

STARTING = {
    "README.md": "scripts/starting/README.md",
    "CHANGELOG.md": "scripts/starting/CHANGELOG.md",
}
"""What a product starts with in place of files of Gatepost."""
STARTING_WITHOUT_POSTS = {
    "docs/extending.md": "scripts/starting/extending.md",
    "tests/test_extending.py": "scripts/starting/test_extending.txt",
}

_NAME = re.compile("|".join([*map(re.escape, KEPT), f"(?P<name>{OLD})"]), re.IGNORECASE)
_VERSION = re.compile(r'(?m)^version = ".+"$')
_MARK = re.compile(r"\s*(?:#|//|<!--|\{#) (?P<what>base|posts) only(?: -->| #\})?$")
_EDGE = re.compile(
    r"\s*(?:#|//|<!--|\{#) (?P<edge>begin|end): (?P<what>base|posts) only(?: -->| #\})?"
)


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a product was rendered from and with; stored in `.gatepost.json`."""

    version: str
    """Of Gatepost."""
    commit: str
    name: str
    without: list[str]
    revision: str = ""
    """The newest revision of Gatepost's schema that a product without posts has."""

    @property
    def source(self) -> str:
        return f"Gatepost {self.version} ({self.commit[:12]})"

    def text(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def read(cls, tree: Path) -> "Answers":
        return cls(**json.loads((tree / MANIFEST).read_text()))


def tracked(tree: Path) -> list[str]:
    """Paths of the files of the tree that git knows, sorted."""
    return git(tree, "ls-files").splitlines()


def text_of(file: Path) -> str | None:
    """The text of the file; None if it is a picture or other data."""
    try:
        text = file.read_bytes().decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def renamed(text: str, name: str) -> str:
    """`text` with `name` for gatepost, in the same case: gatepost, Gatepost, GATEPOST."""

    def new(found: re.Match[str]) -> str:
        old = found["name"]
        if old is None:
            return found[0]
        return name.upper() if old.isupper() else name.capitalize() if old[0] == "G" else name

    return _NAME.sub(new, text)


def unmarked(text: str, leaving: Iterable[str], *, is_python: bool) -> str:
    """`text` without what is marked for one of `leaving`, and without the marks of the rest.

    Raises ValueError for a block that does not end, and for a mark where something ends.
    """
    lines = text.splitlines(keepends=True)
    cut = set(_cut_blocks(lines, set(leaving)))
    starts = set()
    for number, line in enumerate(lines, 1):
        mark = _MARK.search(line.rstrip("\n"))
        if mark and line.lstrip()[0] in ")]}":
            raise ValueError(f"line {number}: a mark stands where something begins")
        if mark and mark["what"] in leaving:
            starts.add(number)
    cut |= set(_spans(text, starts)) if is_python and starts else starts
    kept = [line for number, line in enumerate(lines, 1) if number not in cut]
    return "".join(
        _MARK.sub("", line.rstrip("\n")) + "\n" if _MARK.search(line.rstrip("\n")) else line
        for line in kept
    )


def _cut_blocks(lines: list[str], leaving: set[str]) -> Iterator[int]:
    """Numbers of the lines in blocks for `leaving`, and of all lines that begin or end a block."""
    inside: str | None = None
    for number, line in enumerate(lines, 1):
        if edge := _EDGE.fullmatch(line.rstrip("\n")):
            if (edge["edge"] == "begin") is (inside is not None):
                raise ValueError(f"line {number}: {line.strip()}")
            inside = edge["what"] if edge["edge"] == "begin" else None
            yield number
        elif inside in leaving:
            yield number
    if inside:
        raise ValueError(f"a block `{inside} only` does not end")


def _spans(text: str, starts: set[int]) -> Iterator[int]:
    """Numbers of the lines of everything that begins on one of the lines `starts`."""
    yield from starts
    for node in ast.walk(ast.parse(text)):
        first = min(
            [getattr(node, "lineno", 0)]
            + [decorator.lineno for decorator in getattr(node, "decorator_list", [])]
        )
        if first in starts:
            yield from range(first, node.end_lineno + 1)  # type: ignore[attr-defined] # has lines
        for body in (getattr(node, name, None) for name in ("body", "orelse", "finalbody")):
            for before, after in _pairs(body):
                # The docstring of an attribute goes with it.
                if before.lineno in starts and _is_text(after) and _is_assigned(before):
                    yield from range(after.lineno, (after.end_lineno or 0) + 1)


def _pairs(body: object) -> Iterator[tuple[ast.stmt, ast.stmt]]:
    if isinstance(body, list):
        yield from pairwise(body)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_assigned(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign | ast.AnnAssign)


def change(tree: Path, paths: Iterable[str], by: Callable[[str, str], str]) -> None:
    """Rewrite each text of `paths` by `by(path, text)`."""
    for path in paths:
        text = text_of(tree / path)
        if text is not None and (new := by(path, text)) != text:
            (tree / path).write_text(new)


def remove(tree: Path, paths: Iterable[str]) -> None:
    """Remove files and, where a path ends in a slash, folders. Raises ValueError for a path that
    is not there.
    """
    known = tracked(tree)
    for path in paths:
        found = [
            each for each in known if each == path or (path[-1] == "/" and each.startswith(path))
        ]
        if not found:
            raise ValueError(f"{path}: there is no such file")
        for each in found:
            (tree / each).unlink()


def render(tree: Path, answers: Answers, *, before: Path | None = None) -> None:
    """Make the tree what `answers` ask for. `before` has the revisions of the release that the
    product was rendered from last. Raises ValueError for marks that do not fit.
    """
    leaving = {"base", *answers.without}
    starting = STARTING | (STARTING_WITHOUT_POSTS if "posts" in leaving else {})
    for path, source in starting.items():
        (tree / path).write_bytes((tree / source).read_bytes())
    remove(tree, BASE_ONLY)
    left = [path for path in tracked(tree) if (tree / path).exists()]
    change(tree, left, lambda path, text: _unmarked_file(path, text, leaving))
    if "posts" in leaving:
        newest = without_posts(tree, since=answers.revision, before=before)
        answers = replace(answers, revision=newest)
        left = [path for path in tracked(tree) if (tree / path).exists()]
    change(
        tree,
        (path for path in left if path != LICENSE),
        lambda _, text: renamed(text, answers.name),
    )
    change(tree, ["pyproject.toml"], lambda _, text: _project(text, answers.name))
    for command in (("format",), ("check", "--fix"), ("format",)):
        _ruff(tree, *command, "--quiet", ".")
    (tree / MANIFEST).write_text(answers.text())


def without_posts(tree: Path, *, since: str, before: Path | None) -> str:
    """Take the example out of a tree without its marked lines. Its schema begins with one revision;
    later ones follow those that are in `before`. Returns the newest revision of Gatepost.
    """
    remove(tree, example.FILES)
    paths = [path for path in tracked(tree) if path.startswith("tests/") and path.endswith(".py")]
    texts = {path: (tree / path).read_text() for path in paths if (tree / path).exists()}
    missing = {path.removesuffix(".py").replace("/", ".") for path in example.FILES}
    for path, text in example.cut_tests(texts, missing).items():
        if text is None:
            (tree / path).unlink()
        else:
            (tree / path).write_text(text)
    left = {path: (tree / path).read_text() for path in paths if (tree / path).exists()}
    page = tree / "docs/security.md"
    page.write_text(example.cut_citations(page.read_text(), left))
    for command in (("format",), ("check", "--fix")):
        _ruff(tree, *command, "--quiet", ".")
    revisions = sorted((tree / VERSIONS).glob("*.py"))
    later = [(file.name, file.read_text()) for file in revisions if file.name[:4] > since]
    for file in revisions:
        file.unlink()
    if before is None:
        _python(tree, "-m", "infrastructure.database.migrations.generate", "first")
    else:
        for file in before.glob("*.py"):
            (tree / VERSIONS / file.name).write_bytes(file.read_bytes())
        for name, text in later:
            last = max(file.name for file in (tree / VERSIONS).glob("*.py"))[:4]
            number = f"{int(last) + 1:04}"
            (tree / VERSIONS / f"{number}{name[4:]}").write_text(numbered(text, number, last))
    git(tree, "add", "--all")
    (tree / "tests/openapi.json").write_text(
        _python(tree, "-c", "import start; start.main()", "openapi")
    )
    return revisions[-1].name[:4]


def _project(text: str, name: str) -> str:
    """`pyproject.toml` of a product: with a version of its own, and room for a longer name."""
    text = _VERSION.sub('version = "0.1.0"', text, count=1)
    if len(name) > len(OLD):
        text = text.replace(
            "\nignore = [\n", '\nignore = [\n    "E501", # lines with the name\n', 1
        )
    return text


def _python(tree: Path, *arguments: str) -> str:
    done = subprocess.run(  # noqa: S603 # our own programs
        [sys.executable, *arguments],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout


def _unmarked_file(path: str, text: str, leaving: set[str]) -> str:
    try:
        return unmarked(text, leaving, is_python=path.endswith(".py"))
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def _ruff(tree: Path, *arguments: str) -> None:
    subprocess.run(  # noqa: S603 # our own tool
        [sys.executable, "-m", "ruff", *arguments, "--no-cache"], cwd=tree, check=True
    )


if __name__ == "__main__":
    # `make updates` runs the newer release's own rendering.
    render(Path.cwd(), Answers(**json.loads(sys.argv[1])), before=Path(sys.argv[2]))
