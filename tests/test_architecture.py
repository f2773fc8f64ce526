"""What import-linter cannot say of the house: names, sizes, and how things are tested."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ["api", "application", "domain", "infrastructure"]
VAGUE = {"base", "common", "core", "helpers", "manager", "misc", "utils"}
LINES = 400
METHODS = 10
PARAMETERS = 6
FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef


def modules(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    assert found, "nothing to look at"
    return [path.relative_to(ROOT) for path in sorted(found)]


ROOT_MODULES = [Path(f"{name}.py") for name in ("checks", "cli", "main")]
START, CATALOGUE = Path("start.py"), Path("catalogue.py")
SOURCES = [*ROOT_MODULES, START, CATALOGUE, *modules(*LAYERS, "demo")]
TESTS = modules("tests")


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text())


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{name.name}" for name in node.names)


def attributes(path: Path) -> set[str]:
    return {node.attr for node in ast.walk(tree(path)) if isinstance(node, ast.Attribute)}


def classes(path: Path) -> Iterator[ast.ClassDef]:
    return (node for node in ast.walk(tree(path)) if isinstance(node, ast.ClassDef))


def methods(node: ast.ClassDef) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for part in node.body:
        if isinstance(part, FUNCTION):
            yield part


def test_a_module_is_named_for_what_it_is_about() -> None:
    vague = [path for path in SOURCES + TESTS if VAGUE & {*path.parts[:-1], path.stem}]

    assert vague == []


def test_each_name_has_one_import_path() -> None:
    packages = [path for path in SOURCES + TESTS if path.name == "__init__.py"]

    assert len(packages) > len(LAYERS)
    assert [path for path in packages if not _is_docstring(tree(path))] == []


def _is_docstring(module: ast.Module) -> bool:
    """Whether there is nothing in the module but a docstring, or nothing at all."""
    return len(module.body) <= (ast.get_docstring(module) is not None)


def test_no_file_is_longer_than_400_lines() -> None:
    written = [path for path in SOURCES if path.parent.name != "versions"]  # by hand
    sizes = {path: len((ROOT / path).read_text().splitlines()) for path in written}

    assert {path: size for path, size in sizes.items() if size > LINES} == {}


@pytest.mark.parametrize("layer", ["application", "domain"])
def test_classes_have_a_bounded_number_of_methods_and_parameters(layer: str) -> None:
    # A port may ask for more: what it lists are questions, none of which it answers.
    for path in [path for path in modules(layer) if "ports" not in Path(path).parts]:
        for node in classes(path):
            public = [method.name for method in methods(node) if not method.name.startswith("_")]
            assert len(public) <= METHODS, f"{node.name} in {path}"
            for method in methods(node):
                if method.name == "__init__":
                    own = [*method.args.args[1:], *method.args.kwonlyargs]
                    assert len(own) <= PARAMETERS, f"{node.name} in {path}"


def test_only_the_composition_root_reads_settings() -> None:
    readers = [
        path
        for path in SOURCES
        if any(name.startswith("infrastructure.settings") for name in imported(path))
    ]

    assert readers == ROOT_MODULES


def test_adapters_are_used_only_through_their_ports() -> None:
    for path in (*ROOT_MODULES, Path("infrastructure/metrics.py")):
        called = {node.id for node in ast.walk(tree(path)) if isinstance(node, ast.Name)}
        assert "isinstance" not in called, path


def test_domain_and_application_never_read_the_clock() -> None:
    for path in modules("application", "domain"):
        # `now` by itself is what rules are given.
        assert "datetime.now" not in (ROOT / path).read_text(), path
        assert attributes(path).isdisjoint({"utcnow", "today", "time", "monotonic"}), path


@pytest.mark.parametrize("layer", ["domain", "application"])
def test_every_module_with_behaviour_has_a_test_of_its_name(layer: str) -> None:
    """Data alone is tested with whoever uses it, and the wiring in `services` by all tests."""
    behaving = {
        path.stem
        for path in modules(layer)
        if path.parent == Path(layer)
        and any(isinstance(node, FUNCTION) for node in ast.walk(tree(path)))
    }
    tested = {path.stem.removeprefix("test_") for path in modules(f"tests/{layer}")}

    assert behaving
    assert behaving - {"services"} <= tested


def test_a_port_has_the_same_name_in_the_tests() -> None:
    ports = {path.stem for path in modules("application/ports")} - {"__init__", "adapter"}
    fakes = {path.stem for path in modules("tests/fakes")}
    contracts = {path.stem.removeprefix("test_") for path in modules("tests/contracts")}

    assert ports <= fakes
    assert ports - {"clock"} <= contracts


def test_nothing_is_patched() -> None:
    """A test that patches knows how a thing is done, where it should know what is done."""
    for path in TESTS:
        names = {name.partition(".")[0] for name in imported(path)}
        assert names.isdisjoint({"mock", "pytest_mock", "unittest"}), path
        assert "setattr" not in attributes(path), path


def test_the_names_of_tests_are_sentences() -> None:
    short = [
        f"{path}: {node.name}"
        for path in TESTS
        for node in ast.walk(tree(path))
        if isinstance(node, FUNCTION) and node.name.startswith("test_") and node.name.count("_") < 2
    ]

    assert short == []


def test_every_use_case_runs_its_work_where_it_is_run_again() -> None:
    """By `Storage.run`, and not in a unit of work for one attempt."""
    opening = [
        f"{path}:{node.lineno}"
        for path in modules("application")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("self._storage", "storage")
    ]

    assert opening == []


def test_the_driver_knows_databases_and_no_concept() -> None:
    known = (
        "infrastructure.database.driver",
        "domain.errors",
        "domain.fields",
        "application.outages",
        "application.ports.adapter.Reading",
    )
    driver = modules("infrastructure/database/driver")

    foreign = [
        (path, name)
        for path in driver
        for name in imported(path)
        if name.startswith(("api.", "application.", "demo.", "domain.", "infrastructure."))
        and not name.startswith(known)
    ]

    assert foreign == []
