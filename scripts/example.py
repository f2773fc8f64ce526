"""The example (posts, votes and what serves them alone), and how a product is made without it.

Its files are listed here. What shared files have for it is marked (`scripts.rendering`). Tests need
no marks: a definition that uses the example goes, with what uses that definition. Where a list has
rows for the example and others, marks on its rows keep the rest of the test.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

FILES = (
    "api/etags.py",
    "api/idempotency.py",
    "api/posts.py",
    "api/votes.py",
    "application/ports/idempotency.py",
    "application/posts.py",
    "application/votes.py",
    "demo/",
    "docs/reports.md",
    "docs/decisions/0018-replica.md",
    "docs/decisions/0041-optimistic-edits.md",
    "domain/idempotency.py",
    "domain/posts.py",
    "domain/search.py",
    "infrastructure/database/idempotency.py",
    "infrastructure/database/post_lists.py",
    "infrastructure/database/posts.py",
    "infrastructure/database/replica.py",
    "infrastructure/database/search.py",
    "infrastructure/database/votes.py",
    "tests/demo/",
    "tests/api/test_etags.py",
    "tests/contracts/test_replica.py",
    "tests/fakes/idempotency.py",
    "tests/fakes/posts.py",
    "tests/fakes/votes.py",
    "tests/infrastructure/test_replica.py",
    "tests/journeys/model.py",
    "tests/journeys/test_replica.py",
    "tests/journeys/test_seeds.py",
)
"""Files that are about the example alone. A folder ends in a slash."""

_HTTP = re.compile(r"\b(?!api\b|backend\b|queries\b)\w+\.post\b|\)\.post\(|(['\"])post\1|do_POST")
_WORDS = re.compile(
    r"""
      (?<![A-Za-z]) (?: posts? | votes? | voted | voters? | replica | on_draft
                      | idempotency ) (?![A-Za-z@])
    | (?<![A-Z]) (?: POSTS | POST_[A-Z]+ | VOTES? ) (?![A-Z])
    | (?: Posts? | Votes? | Replica ) (?![a-z])
    """,
    re.VERBOSE,
)


def is_about_the_example(text: str) -> bool:
    """Whether code or prose names posts and what belongs to them. POST and PostgreSQL do not."""
    return bool(_WORDS.search(_HTTP.sub("", text)))


_FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class _Module:
    """A module of the tests, and the lines of it that go."""

    path: str
    text: str
    gone: set[int] = field(default_factory=set)
    gone_names: set[str] = field(default_factory=set)
    instead: dict[int, str] = field(default_factory=dict)
    """What comes in place of lines that go."""

    def __post_init__(self) -> None:
        self.lines = self.text.splitlines(keepends=True)
        self.body = ast.parse(self.text).body

    @property
    def name(self) -> str:
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    def source(self, node: ast.stmt) -> str:
        return "".join(self.lines[_first(node) - 1 : node.end_lineno])

    def remove(self, node: ast.stmt) -> None:
        self.gone.update(range(_first(node), (node.end_lineno or 0) + 1))
        self.gone_names.update(_defined(node))

    def is_gone(self, node: ast.stmt) -> bool:
        return node.lineno in self.gone

    def left(self) -> list[ast.stmt]:
        return [node for node in self.body if not self.is_gone(node)]

    @property
    def names(self) -> set[str]:
        """What others can import from it."""
        nodes = [
            node for top in self.left() for node in ast.walk(top) if isinstance(node, ast.stmt)
        ]
        return {name for node in nodes for name in _defined(node)}

    @property
    def is_empty(self) -> bool:
        """Whether no test is left of a module of tests."""
        return "/test_" in self.path and not any(
            name.startswith("test_") for node in self.left() for name in _defined(node)
        )

    def result(self) -> str:
        return "".join(
            self.instead.get(n, "" if n in self.gone else line)
            for n, line in enumerate(self.lines, 1)
        )


def _first(node: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(each.lineno for each in decorators)])


def _defined(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.ClassDef | _FUNCTION):
        yield node.name
    elif isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            yield from (each.id for each in ast.walk(target) if isinstance(each, ast.Name))
    elif isinstance(node, ast.Import | ast.ImportFrom):
        yield from ((alias.asname or alias.name) for alias in node.names)


def _names(node: ast.AST) -> list[ast.Name]:
    return [each for each in ast.walk(node) if isinstance(each, ast.Name)]


def _used(node: ast.AST) -> set[str]:
    """Names that the code uses: variables, and the fixtures that its functions take."""
    loaded, stored = (
        {
            each.id
            for each in ast.walk(node)
            if isinstance(each, ast.Name) and type(each.ctx) is kind
        }
        for kind in (ast.Load, ast.Store)
    )
    fixtures = set()
    if isinstance(node, _FUNCTION):
        fixtures = {each.arg for each in (*node.args.args, *node.args.kwonlyargs)}
    return loaded - stored | fixtures


_CITED = re.compile(r"(?:, )?`(?P<file>[\w/]+\.py)::(?P<test>\w+)`")


def cut_citations(page: str, tests: dict[str, str]) -> str:
    """The page without the citations `file.py::test` of tests that are not in `tests`, by path, and
    without table rows that have no citation left.
    """

    def kept(found: re.Match[str]) -> str:
        text = tests.get(f"tests/{found['file']}", "")
        return found[0] if f"def {found['test']}(" in text else ""

    lines = []
    for line in page.splitlines(keepends=True):
        new = _CITED.sub(kept, line)
        if new == line or _CITED.search(new) or not line.startswith("|"):
            lines.append(new.replace("| , `", "| `").replace(": , `", ": `"))
    return "".join(lines)


def cut_tests(texts: dict[str, str], missing: set[str]) -> dict[str, str | None]:
    """The modules of the tests, by path, without what is about the example; None for a module that
    has no test left. `missing` are the modules that went with their files.
    """
    modules = [_Module(path, text) for path, text in texts.items()]
    for module in modules:
        if "/test_" in module.path:
            for node in module.body:
                _cut_words(module, node)
    before: list[str] = []
    while before != (now := [module.result() for module in modules]):
        before = now
        modules = [
            _Module(module.path, text, gone_names=module.gone_names)
            for module, text in zip(modules, now, strict=True)
        ]
        _cut_uses(modules, missing)
    for module in modules:
        _cut_unused(module)
    return {module.path: None if module.is_empty else module.result() for module in modules}


def _is_about_the_example(node: ast.stmt) -> bool:
    """By its code alone, without comments and docstrings."""
    code = ast.parse(ast.unparse(node))
    for each in ast.walk(code):
        if isinstance(each, _FUNCTION) and ast.get_docstring(each) is not None:
            each.body[0] = ast.Pass()
    return is_about_the_example(ast.unparse(code))


def _cut_uses(modules: list[_Module], missing: set[str]) -> None:
    """Remove statements that use what is gone."""
    by_name = {module.name: module for module in modules}
    missing = missing | {module.name for module in modules if module.is_empty}
    fixtures = {
        name
        for module in modules
        if module.path.endswith("conftest.py")
        for name in module.gone_names
    }
    for module in modules:
        _cut_imports(module, by_name, missing)
        if "/test_" not in module.path:
            continue
        for node in module.left():
            arguments = {each.arg for each in ast.walk(node) if isinstance(each, ast.arg)}
            if isinstance(node, ast.Import | ast.ImportFrom):
                continue
            if _used(node) & module.gone_names or arguments & fixtures:
                module.remove(node)


def _cut_words(module: _Module, node: ast.stmt) -> None:
    """Remove the statement if it is about the example."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return
    if _is_about_the_example(node) and not isinstance(node, ast.Expr):
        module.remove(node)


def _cut_imports(module: _Module, by_name: dict[str, _Module], missing: set[str]) -> None:
    """Remove imports of what is gone."""
    for node in module.left():
        if isinstance(node, ast.Import) and any(each.name in missing for each in node.names):
            module.remove(node)
        if not isinstance(node, ast.ImportFrom) or not node.module:
            continue
        source = by_name.get(node.module)
        kept = [
            alias
            for alias in node.names
            if node.module not in missing
            and f"{node.module}.{alias.name}" not in missing
            and (
                not source or alias.name in source.names or f"{node.module}.{alias.name}" in by_name
            )
        ]
        if len(kept) < len(node.names):
            names = {alias.asname or alias.name for alias in kept}
            module.remove(node)
            module.gone_names -= names
            if kept:
                new = ast.ImportFrom(module=node.module, names=kept, level=0)
                module.instead[node.lineno] = ast.unparse(new) + "\n"


def _cut_unused(module: _Module) -> None:
    """Remove helpers that only removed statements used."""
    for _ in range(5):
        left = module.left()
        used = {name for node in left for name in _used(node) - set(_defined(node))}
        orphaned = {
            name
            for node in module.body
            if module.is_gone(node)
            for name in _used(node)
            if name not in used
        }
        for node in left:
            names = set(_defined(node))
            is_helper = isinstance(node, _FUNCTION | ast.Assign | ast.AnnAssign | ast.ClassDef)
            if is_helper and names and names <= orphaned and "/test_" in module.path:
                module.remove(node)
