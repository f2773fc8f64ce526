"""Rules of the domain and codes of errors, for `gatepost rules` and `gatepost errors`."""

import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import FunctionType, ModuleType

import api
import application
import domain
import infrastructure
from api.errors import HTTP_CODES, STATUSES
from api.problems import EVERYWHERE, ProblemCode, code_of, http_code
from application.errors import errors_of
from domain.errors import DomainError

_ROOT = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    rules: str
    """The tuple that the rule stands in: `users.REGISTRATION_RULES`."""
    name: str
    errors: list[str]
    """Codes of the errors that it names; a rule that only changes the content has none."""
    statuses: list[int]
    place: str
    """File and line."""


def rules() -> list[Rule]:
    """The rules of the domain, in the order in which each tuple runs them."""
    return [
        _rule(f"{module.__name__.partition('.')[2]}.{name}", function)
        for module in _modules(domain)
        for name, value in sorted(vars(module).items())
        if name.endswith("_RULES") and isinstance(value, tuple)
        for function in value
        if function.__module__ == module.__name__
    ]


def errors() -> list[ProblemCode]:
    """Every code that a problem can have, by status; each once."""
    for package in (application, api, infrastructure):
        _modules(package)  # an error exists once its module is imported
    found = {code_of(error) for error in _subclasses(DomainError) if error not in STATUSES}
    found |= {http_code(status, code) for status, code in HTTP_CODES.items()}
    found |= {*EVERYWHERE, http_code(400, "cors_refused", "Refused in answer to a CORS preflight")}
    by_code = {(error.status, error.code): error for error in found}  # two errors may share one
    return [by_code[key] for key in sorted(by_code)]


def _rule(rules: str, function: FunctionType) -> Rule:
    code = function.__code__
    errors = sorted(map(code_of, errors_of(function)))
    file = Path(code.co_filename).relative_to(_ROOT)
    return Rule(
        rules=rules,
        name=code.co_name,
        errors=[error.code for error in errors],
        statuses=[error.status for error in errors],
        place=f"{file}:{code.co_firstlineno}",
    )


def _modules(package: ModuleType) -> list[ModuleType]:
    return [
        import_module(found.name)
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        if ".migrations" not in found.name
    ]


def _subclasses(error: type[DomainError]) -> Iterator[type[DomainError]]:
    for child in error.__subclasses__():
        yield child
        yield from _subclasses(child)
