"""The steps of docs/extending.md, as data. Tests follow them, and `make resource` renames them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

PAGE = Path("docs") / "extending.md"
RESOURCE = "A new resource"

_BLOCK = re.compile(r"^ *```(python)?\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
_PLACE = re.compile(
    r"# (?P<file>\S+\.py)(?:, (?P<where>(?:above|below)(?: each)?|instead of): (?P<line>.+))?\n"
)


class BadPage(Exception):
    """The page and the code do not fit together; the text says where."""


@dataclass(frozen=True, slots=True)
class NewFile:
    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Edit:
    path: str
    where: str
    """`above`, `above each`, `below`, `below each` or `instead of`."""
    anchor: str
    """The line that it is about, without its indentation."""
    text: str

    def applied_to(self, text: str) -> str:
        """Raises `BadPage` unless the anchor is there, and once where one line is meant."""
        lines = text.splitlines(keepends=True)
        places = [n for n, line in enumerate(lines) if line.strip() == self.anchor]
        if not places or (len(places) > 1 and not self.where.endswith(" each")):
            raise BadPage(f"{self.path} has {len(places)} lines that are: {self.anchor}")
        for at in reversed(places):
            start = at + self.where.startswith("below")
            end = at + (self.where == "instead of")
            lines[start : max(start, end)] = self.text.splitlines(keepends=True)
        return "".join(lines)


@dataclass(frozen=True, slots=True)
class Command:
    words: tuple[str, ...]


Step = NewFile | Edit | Command


def chapter(page: str, title: str) -> str:
    """Raises `BadPage` if there is none."""
    _, found, rest = page.partition(f"\n## {title}\n")
    if not found:
        raise BadPage(f"there is no chapter {title}")
    return rest.partition("\n## ")[0]


def has_steps(text: str) -> bool:
    return bool(_BLOCK.search(text))


def steps(text: str) -> Iterator[Step]:
    """What the blocks of a chapter say to do. Raises `BadPage` for one that does not say where."""
    for language, indented in _BLOCK.findall(text):
        block = dedent(indented)
        if not language:
            yield Command(tuple(block.split()))
            continue
        place = _PLACE.match(block)
        if not place:
            raise BadPage(f"this block does not say where it goes:\n{block}")
        code = block[place.end() :]
        if place["line"] is None:
            yield NewFile(place["file"], code)
        else:
            yield Edit(place["file"], place["where"], place["line"], code)
