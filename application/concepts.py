"""The concepts of the service, and their modules.

A concept has a module with its name in each layer that it needs. To add one, write its files and
list it here: its tables, repositories, queries, routes and fakes are found by that name.
"""

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TypeVar, cast

P = TypeVar("P")

CONCEPTS = (
    # Routes are tried in this order: those that are asked for most come first.
    "users",
    "posts",  # posts only
    "votes",  # posts only
    "auth",
    "sessions",
    "browser",
    "access_tokens",
    "personal_tokens",
    "oauth",
    "external_identities",
    "factors",
    "challenges",
    "proofs",
    "one_time_codes",
    "registrations",
    "jobs",
    "passkeys",
    "mail",
    "events",
    "webhooks",
    "deliveries",
    "idempotency",  # posts only
    "administration",
    "exports",
    "health",
    "home",
)


@cache
def modules(package: str) -> tuple[ModuleType, ...]:
    """Imports the modules that the concepts have in `package`, and returns them in their order."""
    names = (f"{package}.{name}" for name in CONCEPTS)
    return tuple(import_module(name) for name in names if find_spec(name))


_ADAPTERS: dict[tuple[object, str], object] = {}


def adapter(port: type[P], package: str) -> type[P]:
    """The class in `package` that subclasses `port`. Raises LookupError unless there is one."""
    key = (port, package)
    if key not in _ADAPTERS:
        modules(package)
        found = [each for each in port.__subclasses__() if each.__module__.startswith(package)]
        if len(found) != 1:
            raise LookupError(f"{package} has {len(found)} adapters of {port.__name__}, not one")
        (_ADAPTERS[key],) = found
    return cast("type[P]", _ADAPTERS[key])
