"""Every regular expression of the source takes time linear in the length of what it searches.

CPython's `re` backtracks and holds the interpreter's lock, so one client with a text that makes a
search quadratic stops a whole process. The patterns are found by reading the source: a new one is
measured without a change here. Pydantic's `pattern=` needs no measurement, since its engine does
not backtrack.
"""

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from itertools import product
from pathlib import Path
from re import _constants, _parser
from time import thread_time
from typing import Any

import pytest

from tests.test_architecture import SOURCES, tree

SIZE = 4000
"""Characters: a quadratic search takes ten milliseconds or more, a linear one about one."""

FAST = 0.003
"""Seconds; what takes less than that for `SIZE` characters is not worth a second look."""

FACTOR = 3.0
"""Between the factors of linear time (2) and quadratic time (4) for a text of twice the length."""

SEARCHES = {"findall", "finditer", "fullmatch", "match", "search", "split", "sub", "subn"}


def calls(within: ast.AST) -> Iterator[tuple[ast.Call, str, str]]:
    """Calls of the form `NAME.attribute(...)`."""
    for node in ast.walk(within):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
        ):
            yield node, node.func.value.id, node.func.attr


def patterns() -> dict[str, tuple[re.Pattern[Any], set[str]]]:
    """The compiled patterns by module and name, each with the methods that the source uses."""
    found = {}
    for path in SOURCES:
        for node in tree(path).body:
            if isinstance(node, ast.Assign) and "re.compile(" in ast.unparse(node.value):
                module, name = ".".join(path.with_suffix("").parts), ast.unparse(node.targets[0])
                value = getattr(import_module(module), name)
                if isinstance(value, re.Pattern):
                    found[f"{module}.{name}"] = (value, uses(SOURCES, name))
                else:
                    methods = uses([path])
                    for number, pattern in enumerate(inside(value)):
                        found[f"{module}.{name}[{number}]"] = (pattern, methods)
    return found


def inside(value: Any) -> Iterator[re.Pattern[Any]]:
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, list | tuple):
        for each in value:
            yield from inside(each)


def uses(paths: Sequence[Path], name: str | None = None) -> set[str]:
    """How `paths` search by the pattern `name`, or by any; `search` where none is to be seen."""
    attributes = {
        node.attr
        for path in paths
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (name is None or node.value.id == name)
    }
    return SEARCHES & attributes or {"search"}


PATTERNS = patterns()


def parts(parsed: Any) -> Iterator[str]:
    """The runs of literal characters of a parsed pattern, and a character of each class."""
    run = ""
    for operation, argument in parsed:
        if operation is _constants.LITERAL:
            run += chr(argument)
            continue
        if run:
            yield run
        run = ""
        if operation is _constants.NOT_LITERAL:
            yield "~"
        elif operation is _constants.IN:
            yield from members(argument)
        elif operation is not _constants.GROUPREF:
            yield from nested(argument)
    if run:
        yield run


def nested(argument: Any) -> Iterator[str]:
    """`parts` of what is inside groups, alternatives, repetitions and lookarounds."""
    if isinstance(argument, _parser.SubPattern):
        yield from parts(argument)
    elif isinstance(argument, list | tuple):
        for each in argument:
            yield from nested(each)


def members(argument: Sequence[tuple[Any, Any]]) -> Iterator[str]:
    """Of a class: each character that it names, both ends of its ranges, one of each category."""
    categories = {"DIGIT": "1", "SPACE": " ", "WORD": "w"}
    for operation, value in argument:
        if operation is _constants.LITERAL:
            yield chr(value)
        elif operation is _constants.RANGE:
            yield from map(chr, value)  # its first and its last
        elif operation is _constants.CATEGORY:
            yield next(it for name, it in categories.items() if name in str(value))
        elif operation is _constants.NEGATE:
            yield "~"


def texts(pattern: re.Pattern[Any]) -> Iterator[Callable[[int], Any]]:
    """Functions from a length to a text of about that length: runs of each part of the pattern,
    behind each other part, and ended by what most patterns do not take.
    """
    given = pattern.pattern
    source = given.decode("latin-1") if isinstance(given, bytes) else given
    every = sorted({*parts(_parser.parse(source, pattern.flags)), "a", "1", '"', "é"})
    for start, unit, end in product(["", *every], every, ["", "\n"]):
        yield partial(text, isinstance(given, bytes), start, unit, end)


def text(as_bytes: bool, start: str, unit: str, end: str, size: int) -> Any:
    made = start + unit * (size // len(unit)) + end
    return made.encode("latin-1") if as_bytes else made


def seconds(pattern: re.Pattern[Any], method: str, searched: Any, *, tries: int) -> float:
    """Of the processor, for the fastest of several searches."""
    arguments = (searched[:0], searched) if method in ("sub", "subn") else (searched,)
    best = float("inf")
    for _ in range(tries):
        started = thread_time()
        found = getattr(pattern, method)(*arguments)
        if method == "finditer":
            list(found)
        best = min(best, thread_time() - started)
    return best


def slow(pattern: re.Pattern[Any], method: str) -> str | None:
    """A text for which a search takes more than about twice as long at twice the length."""
    for made in texts(pattern):
        if seconds(pattern, method, made(SIZE), tries=1) < FAST:
            continue
        once = seconds(pattern, method, made(SIZE), tries=3)
        twice = seconds(pattern, method, made(2 * SIZE), tries=3)
        if twice > FAST and twice > FACTOR * once:
            return f"{made(24)!r}: {once:.4f} s, at twice the length {twice:.4f} s"
    return None


@pytest.mark.parametrize("name", PATTERNS)
def test_matching_time_is_linear_in_the_length(name: str) -> None:
    pattern, methods = PATTERNS[name]

    assert [found for method in methods if (found := slow(pattern, method))] == []


@pytest.mark.parametrize(
    ("expression", "method"),
    [
        (r"(?<=://)[^\s/@]*:[^\s/@]+(?=@)", "search"),
        (r"a+b", "search"),
        (r"(\w+)\s", "findall"),
        (rb"[0-9]+-[0-9]+z", "sub"),
    ],
)
def test_a_quadratic_pattern_is_detected(expression: Any, method: str) -> None:
    assert slow(re.compile(expression), method)


def test_every_regular_expression_is_compiled_at_module_level() -> None:
    """As a name of a module, and never by `re.search(...)` or inside of a function."""
    elsewhere = [
        f"{path}:{node.lineno}"
        for path in SOURCES
        for node, name, attribute in calls(tree(path))
        if name == "re" and attribute in SEARCHES
    ]
    compiled = [
        f"{path}:{node.lineno}"
        for path in SOURCES
        for node, name, attribute in calls(tree(path))
        if (name, attribute) == ("re", "compile")
    ]
    measured = [
        f"{path}:{node.lineno}"
        for path in SOURCES
        for statement in tree(path).body
        if isinstance(statement, ast.Assign)
        for node, name, attribute in calls(statement)
        if (name, attribute) == ("re", "compile")
    ]

    assert elsewhere == []
    assert sorted(compiled) == sorted(measured)
    assert PATTERNS
