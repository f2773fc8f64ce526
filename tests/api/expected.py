"""What tests expect of each route: a table `ROUTES` beside the tests of its concept.

The tables are found by name, in `test_CONCEPT.py`. A route that none of them has fails the tests.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import httpx

from application.concepts import CONCEPTS
from tests.api.client import ApiClient, Person

if TYPE_CHECKING:
    from tests.api.caller import Caller

WHO = ("nobody", "member", "owner", "moderator", "admin", "deactivated")
"""Everybody who asks a protected route."""

Options = dict[str, Any]
"""What httpx sends: `{"json": {...}}`."""
Provocation = Callable[["Caller", str], Awaitable[httpx.Response]]
"""Calls the operation of this name so that it gives one of its answers."""

AUTH = ["read"]
"""What the database is asked for to authenticate: session and user, by one query."""


@dataclass(frozen=True, kw_only=True)
class Expected:
    operation: str
    """The operation id: what generated clients call."""
    route: str
    """Method and path: "GET /users/{user_id}"."""
    statuses: tuple[int, ...] | None = None
    """The answer to each of `WHO`, on what belongs to the owner. None: the route is public."""
    on_draft: tuple[int, ...] | None = None  # posts only
    """The same on a post that is a draft."""
    request: Options | Callable[[ApiClient, Person], Awaitable[Options]] = field(
        default_factory=dict
    )
    """A good request of a person; as a function where no constant would do."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Of a good request, besides its token."""
    queries: list[str] | None = None
    """What a good request asks the database for, in order; None: not tested."""
    refusals: Mapping[int, Provocation] = field(default_factory=dict)
    """How to get the documented answers that it does not give as most routes do."""

    @property
    def method(self) -> str:
        return self.route.partition(" ")[0]

    @property
    def path(self) -> str:
        return self.route.partition(" ")[2]

    async def request_of(self, api: ApiClient, person: Person) -> Options:
        return (
            dict(self.request)
            if isinstance(self.request, dict)
            else await self.request(api, person)
        )


def allowed(status: int) -> tuple[int, ...]:
    """`statuses` of a route for every user."""
    return (401, status, status, status, status, 401)


def for_admins(status: int) -> tuple[int, ...]:
    """`statuses` of a route for admins alone."""
    return (401, 403, 403, 403, status, 401)


@cache
def _tables() -> list[Any]:
    names = (f"tests.api.test_{concept}" for concept in CONCEPTS)
    return [import_module(name) for name in names if find_spec(name)]


@cache
def expected_routes() -> tuple[Expected, ...]:
    return tuple(row for table in _tables() for row in getattr(table, "ROUTES", ()))


async def id_of(parameter: str, api: ApiClient, owner: Person) -> object:
    """The id of something of the owner's, for a path's parameter: `test_CONCEPT.py` makes it by an
    entry in `IDS`.
    """
    makers = {name: make for table in _tables() for name, make in getattr(table, "IDS", {}).items()}
    return await makers[parameter](api, owner)


async def path_of(path: str, api: ApiClient, owner: Person, **ids: object) -> str:
    """The path with the ids of things of the owner's, or else the given ones."""
    for parameter in re.findall(r"{(\w+)}", path):
        value = ids[parameter] if parameter in ids else await id_of(parameter, api, owner)
        path = path.replace(f"{{{parameter}}}", str(value))
    return path
