"""The errors that a use case raises, declared beside it: the API documents what it declares."""

from collections.abc import Callable, Iterator, Sequence
from types import CodeType, FunctionType
from typing import Any, TypeVar

from domain.errors import DomainError

F = TypeVar("F", bound=Callable[..., Any])
Source = type[DomainError] | Callable[..., Any] | Sequence["Source"]
"""An error; a function that raises errors; or several of these, such as a tuple of rules."""
Errors = frozenset[type[DomainError]]

_DECLARED = "__raises__"


def raises(*sources: Source) -> Callable[[F], F]:
    """Declare what a function raises: `@raises(UserNotFound, User.edit)`."""
    errors = errors_of(sources)

    def declare(function: F) -> F:
        setattr(function, _DECLARED, errors)
        return function

    return declare


def errors_of(source: Source) -> Errors:
    """The errors that `source` raises.

    The errors of a function of the domain are read from its code: the error classes that it names,
    and the errors of the functions and tuples of functions that it names. So a rule that joins a
    tuple brings its errors along. Every other function declares its errors. Raises TypeError if it
    does not.
    """
    if isinstance(source, type):
        return frozenset([source])
    if isinstance(source, Sequence):
        return frozenset[type[DomainError]]().union(*map(errors_of, source))
    if hasattr(source, _DECLARED):
        return declared_by(source)
    if not isinstance(source, FunctionType) or not _is_domain(source):
        raise TypeError(f"{source} declares no errors: decorate it with `raises`")
    return frozenset(_named(source, set()))


def declared_by(function: object) -> Errors:
    """The errors that `function` declares by `raises`; none if it declares nothing."""
    errors: Errors = getattr(function, _DECLARED, frozenset())
    return errors


def _is_domain(function: FunctionType) -> bool:
    return function.__module__.partition(".")[0] == "domain"


def _named(function: FunctionType, seen: set[FunctionType]) -> Iterator[type[DomainError]]:
    """The errors that the code of `function` names, and that of the functions which it names."""
    seen.add(function)
    for name in _names(function.__code__):
        value = function.__globals__.get(name)
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, type) and issubclass(each, DomainError):
                yield each
            elif isinstance(each, FunctionType) and _is_domain(each) and each not in seen:
                yield from _named(each, seen)


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:  # functions inside of it
        if isinstance(constant, CodeType):
            yield from _names(constant)
