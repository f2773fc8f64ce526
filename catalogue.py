"""Rules of the domain and codes of errors, for `gatepost rules` and `gatepost errors`."""

import inspect
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
from api.errors import HTTP_CODES, STATUSES, phrase
from api.middleware import HEAD_PROBLEMS
from domain.errors import DomainError

_ROOT = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorCode:
    code: str
    status: int
    meaning: str


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


def errors() -> list[ErrorCode]:
    """Every code that a problem can have, by status; each once."""
    for package in (application, api, infrastructure):
        _modules(package)  # an error exists once its module is imported
    found = {
        ErrorCode(code=error.code, status=_status(error), meaning=_meaning(error))
        for error in _subclasses(DomainError)
        if error not in STATUSES
    }
    found |= {
        ErrorCode(code=code, status=status, meaning=phrase(status))
        for status, code in HTTP_CODES.items()
    }
    found |= {
        ErrorCode(code=code, status=status, meaning=detail)
        for status, (code, detail) in HEAD_PROBLEMS.items()
    }
    found |= {
        ErrorCode(code="internal_error", status=500, meaning="Something went wrong on our side"),
        ErrorCode(code="stopped", status=503, meaning="The service stopped before it had answered"),
        ErrorCode(code="cors_refused", status=400, meaning="Refused in answer to a CORS preflight"),
    }
    by_code = {(error.status, error.code): error for error in found}  # two errors may share one
    return [by_code[key] for key in sorted(by_code)]


def _rule(rules: str, function: FunctionType) -> Rule:
    code = function.__code__
    named = [function.__globals__.get(name) for name in code.co_names]
    errors = [each for each in named if isinstance(each, type) and issubclass(each, DomainError)]
    file = Path(code.co_filename).relative_to(_ROOT)
    return Rule(
        rules=rules,
        name=code.co_name,
        errors=[error.code for error in errors],
        statuses=[_status(error) for error in errors],
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


def _status(error: type[DomainError]) -> int:
    return next(STATUSES[kind] for kind in error.__mro__ if kind in STATUSES)


def _meaning(error: type[DomainError]) -> str:
    """One line: the error's detail, or what its class or its kind says where it has none."""
    described = next(each for each in error.__mro__ if each.__dict__.get("__doc__"))
    return error.detail or inspect.cleandoc(described.__doc__ or "").partition("\n")[0]
