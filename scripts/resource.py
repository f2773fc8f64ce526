"""Writes the files of a new resource: `make resource NAME=reading_lists`.

It follows the chapter "A new resource" of docs/extending.md, whose steps the tests follow as well,
and puts NAME in place of the example's name. Nothing is written unless all of it can be.
"""

import builtins
import keyword
import re
import subprocess
import sys
import tokenize
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path

from scripts.extending import (
    PAGE,
    RESOURCE,
    BadPage,
    Command,
    Edit,
    NewFile,
    Step,
    chapter,
    steps,
)

NAME_MAX = 20
"""Longer names make lines of the example too long."""
_NAME = re.compile(r"[a-z]+(_[a-z]+)*")
_EXAMPLE = re.compile(r"BOOKMARKS?|Bookmarks?|bookmarks?")
_IMPORT = re.compile(
    r"^from ((?:api|application|domain|infrastructure|tests)\.[\w.]+) import", re.MULTILINE
)
_IN_STRINGS = ("STRING", "FSTRING_MIDDLE", "COMMENT")


class Refused(Exception):
    """The text says what is wrong with the name or with the tree."""


@dataclass(frozen=True, slots=True)
class Names:
    """What stands in place of `bookmark` and `bookmarks`."""

    one: str
    many: str

    @classmethod
    def of(cls, many: str) -> "Names":
        """Raises `Refused` unless `many` is a plural that can be a name."""
        for ending, singular in (("ies", "y"), ("sses", "ss"), ("shes", "sh"), ("ches", "ch"),
                                 ("xes", "x"), ("s", "")):  # fmt: skip
            if many.endswith(ending) and not many.endswith(("ss", "us", "is")):
                one = many.removesuffix(ending) + singular
                break
        else:
            raise Refused("it must be a plural, in lower case: reading_lists")
        if not _NAME.fullmatch(many) or not _NAME.fullmatch(one):
            raise Refused("it must be words in lower case, joined by underscores: reading_lists")
        if len(many) > NAME_MAX:
            raise Refused(f"it must have at most {NAME_MAX} characters")
        if keyword.iskeyword(one) or hasattr(builtins, one):
            raise Refused(f"Python has a {one} of its own")
        return cls(one, many)

    def identifiers(self) -> set[str]:
        words = {self.one, self.many}
        return words | {_camel(word) for word in words} | {word.upper() for word in words}

    def in_code(self, text: str) -> str:
        """`text` with the names as parts of identifiers."""

        def new(found: re.Match[str]) -> str:
            word = self._word(found[0])
            if found[0].isupper():
                return word.upper()
            return _camel(word) if found[0][0].isupper() else word

        return _EXAMPLE.sub(new, text)

    def in_prose(self, text: str) -> str:
        """`text` with the names as words; in paths with hyphens, in backticks as identifiers."""

        def new(found: re.Match[str]) -> str:
            before, after = text[: found.start()], text[found.end() :]
            word = self._word(found[0])
            if before.endswith("/"):
                return word.replace("_", "-")
            if before.count("`") % 2 or _is_part(before[-1:]) or _is_part(after[:1]):
                return self.in_code(found[0])
            words = word.replace("_", " ")
            return words.capitalize() if found[0][0].isupper() else words

        return _EXAMPLE.sub(new, text)

    def _word(self, example: str) -> str:
        return self.many if example.lower().endswith("s") else self.one


def _camel(name: str) -> str:
    return name.title().replace("_", "")


def _is_part(character: str) -> bool:
    return character.isalnum() or character == "_"


def renamed(code: str, names: Names) -> str:
    """Python code of the example for another resource."""
    lines = code.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    for token in reversed(list(_tokens(code))):
        start = starts[token.start[0] - 1] + token.start[1]
        end = starts[token.end[0] - 1] + token.end[1]
        kind = tokenize.tok_name[token.type]
        is_text = kind in _IN_STRINGS and (" " in token.string or "/" in token.string)
        new = names.in_prose(code[start:end]) if is_text else names.in_code(code[start:end])
        code = code[:start] + new + code[end:]
    return code


def _tokens(code: str) -> Iterator[tokenize.TokenInfo]:
    kinds = {"NAME", *_IN_STRINGS}
    found = tokenize.generate_tokens(StringIO(code).readline)
    return (token for token in found if tokenize.tok_name[token.type] in kinds)


def plan(page: str, name: str) -> list[Step]:
    """The steps for the resource `name`. Raises `Refused` and `BadPage`."""
    example, names = list(steps(chapter(page, RESOURCE))), Names.of(name)
    words = {
        token.string
        for step in example
        if not isinstance(step, Command)
        for token in _tokens(step.text)
        if not _EXAMPLE.search(token.string)
    }
    if taken := sorted(words & names.identifiers()):
        raise Refused(f"the example uses {', '.join(taken)} for something else")
    return [_renamed_step(step, names) for step in example]


def _renamed_step(step: Step, names: Names) -> Step:
    if isinstance(step, Command):
        return Command(tuple(map(names.in_code, step.words)))
    return replace(step, path=names.in_code(step.path), text=renamed(step.text, names))


def write(tree: Path, name: str) -> tuple[list[str], list[Command]]:
    """Write the files; their paths, and the commands that are still to be run.

    Raises `Refused` or `BadPage`, and has written nothing then.
    """
    todo = plan((tree / PAGE).read_text(), name)
    files: dict[str, str] = {}
    for step in todo:
        if isinstance(step, NewFile):
            if (tree / step.path).exists():
                raise Refused(f"{step.path} is there already")
            files[step.path] = step.text
        elif isinstance(step, Edit):
            text = files.get(step.path) or (tree / step.path).read_text()
            files[step.path] = step.applied_to(text)
    for path, text in files.items():
        _check_imports(tree, path, text, files)
    edited = [path for path in files if (tree / path).exists()]
    if changed := _uncommitted(tree, edited):
        raise Refused(f"commit or undo your changes first: {', '.join(changed)}")
    for path, text in files.items():
        (tree / path).write_text(text)
    return list(files), [step for step in todo if isinstance(step, Command)]


def _check_imports(tree: Path, path: str, text: str, files: Collection[str]) -> None:
    """Raises `BadPage` for an import of a module that neither exists nor is written."""
    for module in _IMPORT.findall(text):
        file = module.replace(".", "/") + ".py"
        if file not in files and not (tree / file).exists():
            raise BadPage(f"{path} would import {module}, which is not here: adapt {PAGE} first")


def _uncommitted(tree: Path, paths: list[str]) -> list[str]:
    if not (tree / ".git").exists():
        return []
    asked = ["git", "status", "--porcelain", "--", *paths]
    status = subprocess.run(asked, cwd=tree, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603 # our own command
    return [line[3:] for line in status.stdout.splitlines()]


def main(name: str) -> None:
    tree = Path()
    try:
        files, commands = write(tree, name)
    except (Refused, BadPage) as error:
        sys.exit(f"NAME={name}: {error}")
    ruff = Path(sys.executable).with_name("ruff")
    for command in (
        [str(ruff), "check", "--quiet", "--fix", "--exit-zero", *files],
        [str(ruff), "format", "--quiet", *files],
        *(command.words for command in commands),
    ):
        subprocess.run(command, check=True)  # noqa: S603 # the page's
    print("\n".join(["Wrote", *(f"  {path}" for path in files)]))
    print("Read them and the migration, then run: make openapi check")


if __name__ == "__main__":
    main(*sys.argv[1:])
