"""Routers whose routes are public or protected, and what a request passes before its endpoint."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, FastAPI, Request, Response, params
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute, iter_route_contexts
from fastapi.types import DecoratedCallable

from api.cookies import CrossSite, refuse_cross_site
from api.dependencies import (
    credential,
    current_session,
    current_user,
    fresh_user,
    services_of,
)
from api.limits import RequestLimit, by_writes
from api.methods import refuse_other_methods
from application.errors import Errors, declared_by, errors_of
from application.ports.limits import Limits
from domain.factors import must_have_what_is_required
from domain.scopes import Scope, refusal

NOTHING: Errors = frozenset()


class Route(APIRoute):
    """A route of Gatepost; it stands on a public or on a protected router."""

    @cached_property
    def limit(self) -> RequestLimit | None:
        """The limit that counts its requests: the one among its dependencies, if there is one."""
        dependencies = (each.dependency for each in self.dependencies)
        named = next((each for each in dependencies if isinstance(each, RequestLimit)), None)
        return named or self.default_limit

    @property
    def default_limit(self) -> RequestLimit | None:
        return None

    @property
    def raised(self) -> Errors:
        """The errors that a request can meet, as the endpoint and the dependencies declare them."""
        return _raised(self.dependant) | (errors_of(Limits.hit) if self.limit else NOTHING)

    async def admit(self, request: Request) -> None:
        """Look at a request before its parameters and its body are read.

        Raises the error that is its answer.
        """
        if self.param_convertors:
            refuse_other_methods(request)
        await self.check(request)

    async def check(self, request: Request) -> None:
        """What kinds of routes add to `admit`. Raises the error that is the answer."""
        if self.limit is not None:
            await self.limit(request)
        refuse_repeated_parameters(request)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def admit_and_handle(request: Request) -> Response:
            await self.admit(request)
            return await handle(request)

        return admit_and_handle


class PublicRoute(Route):
    """Needs no token."""


class BrowserRoute(PublicRoute):
    """A public route for browsers: what pages of other sites send is refused before it is read."""

    @property
    def raised(self) -> Errors:
        return super().raised | _cross_site(self)

    async def check(self, request: Request) -> None:
        if request.method != "GET":
            refuse_cross_site(request)
        await super().check(request)


class ProtectedRoute(Route):
    """Authenticates first: a request without a valid token is a 401, whatever else is wrong.

    Then it compares scopes: a token without the scope of the route is a 403.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.needs_fresh_session = _depends_on(self.dependant, fresh_user)

    @cached_property
    def scope(self) -> Scope:
        """The scope that a request needs. Raises TypeError if the route was declared without."""
        for each in self.dependencies:
            if isinstance(each, _Scoped):
                return each.required
        raise TypeError(
            f"{self.path} names no scope: declare it with scope=Scope.ACCOUNT_READ or another one,"
            " or with Scope.SESSION_ONLY"
        )

    @cached_property
    def needs_required_factor(self) -> bool:
        """Whether it refuses users who lack a second factor that they must have."""
        return not any(isinstance(d, _Scoped) and d.without_factor for d in self.dependencies)

    @property
    def default_limit(self) -> RequestLimit | None:
        is_read = (self.methods or set()) <= {"GET", "HEAD"}
        return None if is_read else by_writes

    @property
    def raised(self) -> Errors:
        needed = errors_of(must_have_what_is_required) if self.needs_required_factor else NOTHING
        return super().raised | needed | {type(refusal(self.scope))} | _cross_site(self)

    async def check(self, request: Request) -> None:
        user = await current_user(request, credential(request))
        if self.scope not in user.scopes:
            raise refusal(self.scope)
        if self.needs_required_factor:
            services = await services_of(request)
            must_have_what_is_required(user, services.ports.factor_policy)
        if self.needs_fresh_session:
            session = await current_session(request, user)
            await fresh_user(session, user, await services_of(request))
        await super().check(request)


def public_router(tag: str, *, prefix: str = "") -> APIRouter:
    """A router whose routes need no token; its operation ids are the names of the functions."""
    return APIRouter(
        prefix=prefix,
        tags=[tag],
        route_class=PublicRoute,
        generate_unique_id_function=_operation_id,
    )


def browser_router(tag: str, *, prefix: str = "") -> APIRouter:
    """As `public_router`, for pages of this site alone."""
    return APIRouter(
        prefix=prefix,
        tags=[tag],
        route_class=BrowserRoute,
        generate_unique_id_function=_operation_id,
    )


@dataclass(frozen=True)
class _Scoped(params.Security):
    """The dependency by which a route authenticates, documents its scope and knows it."""

    required: Scope = Scope.SESSION_ONLY
    without_factor: bool = False


Declare = Callable[[DecoratedCallable], DecoratedCallable]


class ProtectedRouter(APIRouter):
    """Its routes authenticate, whether or not they ask for the `CurrentUser`.

    Each one names its scope: `@protected.get("/users", scope=Scope.ACCOUNT_READ)`. The service does
    not start with one that names none. `without_factor=True`: also for users who lack a second
    factor that they must have.
    """

    def get(self, path: str, *, scope: Scope | None = None, **options: Any) -> Declare[Any]:
        return super().get(path, **_with_scope(scope, options))

    def post(self, path: str, *, scope: Scope | None = None, **options: Any) -> Declare[Any]:
        return super().post(path, **_with_scope(scope, options))

    def put(self, path: str, *, scope: Scope | None = None, **options: Any) -> Declare[Any]:
        return super().put(path, **_with_scope(scope, options))

    def patch(self, path: str, *, scope: Scope | None = None, **options: Any) -> Declare[Any]:
        return super().patch(path, **_with_scope(scope, options))

    def delete(self, path: str, *, scope: Scope | None = None, **options: Any) -> Declare[Any]:
        return super().delete(path, **_with_scope(scope, options))


def _with_scope(scope: Scope | None, options: dict[str, Any]) -> dict[str, Any]:
    """The options of a route that needs `scope`, which the OpenAPI document names as well."""
    without_factor = options.pop("without_factor", False)
    if scope is None:  # refused by `refuse_undeclared_routes`
        return options
    documented = [] if scope is Scope.SESSION_ONLY else [scope.value]
    scoped = _Scoped(current_user, scopes=documented, required=scope, without_factor=without_factor)
    return options | {
        "dependencies": [scoped, *options.get("dependencies", ())],
    }


def protected_router(tag: str, *, prefix: str = "") -> ProtectedRouter:
    """A router whose routes need a token or a session; operation ids are names of functions."""
    return ProtectedRouter(
        prefix=prefix,
        tags=[tag],
        route_class=ProtectedRoute,
        generate_unique_id_function=_operation_id,
    )


def _depends_on(dependant: Any, function: Callable[..., Any]) -> bool:
    children = dependant.dependencies
    return any(child.call is function or _depends_on(child, function) for child in children)


def _raised(dependant: Any) -> Errors:
    return declared_by(dependant.call).union(*map(_raised, dependant.dependencies))


def _cross_site(route: Route) -> Errors:
    """What a cookie adds to a request that may change something."""
    return NOTHING if (route.methods or set()) <= {"GET"} else frozenset([CrossSite])


def _operation_id(route: APIRoute) -> str:
    return route.name


def refuse_repeated_parameters(request: Request) -> None:
    """Raise a 422 for a query that has a parameter twice: which one counts would be a guess."""
    query: bytes = request.scope["query_string"]
    if b"&" in query:
        names = [name for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True)]
        if len(set(names)) < len(names):
            message = "A parameter is given more than once"
            raise RequestValidationError(
                [{"type": "repeated", "loc": ("query",), "msg": message, "input": None}]
            )


def refuse_undeclared_routes(app: FastAPI) -> None:
    """Raise TypeError for a path operation that is neither public nor protected by a scope."""
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        if isinstance(route, APIRoute) and not isinstance(route, PublicRoute | ProtectedRoute):
            raise TypeError(
                f"{context.path} is neither public nor protected: declare it on a router that"
                " api.routing.public_router or protected_router made"
            )
        if isinstance(route, ProtectedRoute) and (
            route.scope is not Scope.SESSION_ONLY and route.needs_fresh_session
        ):
            raise TypeError(f"{context.path} asks for a FreshUser: its scope is SESSION_ONLY")
