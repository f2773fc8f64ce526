"""Routes that know before the first request what each of theirs will need.

FastAPI works out anew for every request what an endpoint asks for. A `Route` does so once and keeps
a plan of it: docs/decisions/0021-planned-routes.md has the figures. What no plan is made for (query
and header parameters, forms, dependencies with `yield` or in threads) is left to FastAPI. Either
way a request is authenticated before anything else of it is looked at.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import Any

from fastapi import APIRouter, Request, Response, params
from fastapi.datastructures import DefaultPlaceholder
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError, ResponseValidationError
from fastapi.routing import APIRoute
from pydantic import TypeAdapter, ValidationError
from starlette import routing
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from api.dependencies import asks_for_the_current_user, authenticate
from api.errors import located
from api.etags import header
from api.limits import limit_of


def router(tag: str, *, prefix: str = "") -> APIRouter:
    """For routes under `tag`, each called in the OpenAPI document as its function is."""
    return APIRouter(
        prefix=prefix,
        tags=[tag],
        route_class=Route,
        generate_unique_id_function=lambda route: route.name,
    )


class Route(APIRoute):
    """`is_planned`: whether it answers by itself, or FastAPI does."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        by_fastapi = self.app
        is_protected = asks_for_the_current_user(self)
        limit = limit_of(self, is_protected=is_protected)
        plan: _Plan | None = None
        with suppress(_Unplanned):
            plan = _Plan(self)
        self.is_planned = plan is not None

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            request = Request(scope, receive, send)
            if is_protected:
                await authenticate(request)
            if limit is not None:
                await limit(request)
            await (by_fastapi if plan is None else await plan(request))(scope, receive, send)

        self.app = answer


class RouteTable:
    """The short way to planned routes; all else is left to `others`.

    Starlette asks one route after the other whether it is the one, and each takes longer to answer
    than a dictionary or a regular expression.
    """

    def __init__(self, routes: Sequence[BaseRoute], others: ASGIApp) -> None:
        self._others = others
        methods = {method for route in routes for method in getattr(route, "methods", None) or ()}
        self._entries = {
            method: [
                _Entry.of(route)
                for route in routes
                if method in (getattr(route, "methods", None) or methods)
            ]
            for method in methods
        }
        self._fixed = {
            (method, route.path): route
            for method in methods
            for route in routes
            if isinstance(route, Route) and self._find(method, route.path) == (route, {})
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope.get("root_path"):
            method, path = scope["method"], scope["path"]
            fixed = self._fixed.get((method, path))
            route, parameters = (fixed, {}) if fixed else self._find(method, path)
            if route is not None:
                scope.update(route=route, endpoint=route.endpoint, path_params=parameters)
                await route.app(scope, receive, send)
                return
        await self._others(scope, receive, send)

    def _find(self, method: str, path: str) -> tuple[Route | None, dict[str, Any]]:
        for entry in self._entries.get(method, ()):
            if entry.expression is None:
                break  # it takes Starlette to tell whether this is the one
            if found := entry.expression.match(path):
                if entry.planned is None:
                    break
                convertors = entry.planned.param_convertors
                values = found.groupdict().items()
                return entry.planned, {name: convertors[name].convert(it) for name, it in values}
        return None, {}


@dataclass(frozen=True, slots=True)
class _Entry:
    """A route as the table knows it."""

    expression: re.Pattern[str] | None
    """Of its path; None for what is no simple route."""
    planned: Route | None

    @classmethod
    def of(cls, route: BaseRoute) -> "_Entry":
        return cls(
            route.path_regex if isinstance(route, routing.Route) else None,
            route if isinstance(route, Route) and route.is_planned else None,
        )


class _Unplanned(Exception):
    """A signature that is left to FastAPI."""


@dataclass(frozen=True, slots=True)
class _Call:
    """A function, and where each of its arguments is among what was gathered by then."""

    function: Callable[..., Awaitable[Any]]
    arguments: tuple[tuple[str, int], ...]

    def __call__(self, gathered: list[Any]) -> Awaitable[Any]:
        return self.function(**{name: gathered[place] for name, place in self.arguments})


_REQUEST, _RESPONSE = range(2)
"""Their places; behind them come what the dependencies return, the path's parameters, the body."""

_MISSING = {"type": "missing", "loc": ("body",), "msg": "Field required"}


class _Plan:
    """How requests of `route` are answered. Raises `_Unplanned`."""

    def __init__(self, route: APIRoute) -> None:
        dependant = route.dependant
        if _has_options(route):
            raise _Unplanned
        self._field = route.response_field
        self._status = route.status_code or 200
        self._asks_for_response = dependant.response_param_name is not None
        self._dependencies: list[_Call] = []
        self._places: dict[object, int] = {}
        arguments = self._arguments(dependant)
        self._path = [(field, ("path", field.alias)) for field in dependant.path_params]
        here = 2 + len(self._dependencies)
        for field in (*dependant.path_params, *dependant.body_params):
            arguments.append((field.name, here))
            here += 1
        self._endpoint = _Call(_awaitable(dependant), tuple(arguments))
        self._body = _body_of(route)

    def _arguments(self, dependant: Dependant) -> list[tuple[str, int]]:
        """Of its dependencies, and of what comes without asking the client."""
        places = [(child.name, self._place(child)) for child in dependant.dependencies]
        arguments = [(name, place) for name, place in places if name]
        if dependant.request_param_name:
            arguments.append((dependant.request_param_name, _REQUEST))
        if dependant.response_param_name:
            arguments.append((dependant.response_param_name, _RESPONSE))
        return arguments

    def _place(self, dependant: Dependant) -> int:
        """Where the dependency's value is, which is asked for once a request."""
        if dependant.call not in self._places:
            if dependant.path_params or dependant.body_params or dependant.response_param_name:
                raise _Unplanned
            call = _Call(_awaitable(dependant), tuple(self._arguments(dependant)))
            self._places[dependant.call] = 2 + len(self._dependencies)
            self._dependencies.append(call)
        return self._places[dependant.call]

    async def __call__(self, request: Request) -> Response:
        given = Response(status_code=self._status) if self._asks_for_response else None
        gathered: list[Any] = [request, given]
        for dependency in self._dependencies:
            gathered.append(await dependency(gathered))
        if self._path or self._body:
            await self._read(request, gathered)
        answer = await self._endpoint(gathered)
        if isinstance(answer, Response):
            return answer
        if self._field is None:
            response = Response(status_code=self._status)
        else:
            value, errors = self._field.validate(answer, loc=("response",))
            if errors:
                raise ResponseValidationError(errors)
            body = self._field.serialize_json(value)
            response = Response(body, self._status, media_type="application/json")
        if given is not None:
            response.status_code = given.status_code
            response.raw_headers += [
                header for header in given.raw_headers if header[0] != b"content-length"
            ]
        return response

    async def _read(self, request: Request, gathered: list[Any]) -> None:
        """Gather what the client gives. Raises `RequestValidationError` with all that is wrong."""
        errors: list[Any] = []
        for field, place in self._path:
            value, wrong = field.validate(request.path_params[field.alias], loc=place)
            gathered.append(value)
            errors += wrong
        if self._body:
            body = await _json_body(request)
            try:
                if body is None:
                    errors.append(_MISSING)
                else:
                    gathered.append(self._body.validate_json(body))
            except ValidationError as error:
                errors += located(error, "body")
        if errors:
            raise RequestValidationError(errors)


def _has_options(route: APIRoute) -> bool:
    """Whether its answer or its body is to be treated otherwise than usual."""
    answers_as_usual = (
        isinstance(route.response_class, DefaultPlaceholder)
        if route.response_field
        else route.response_class is Response
    )
    return (
        not answers_as_usual
        or route.response_model_include is not None
        or route.response_model_exclude is not None
        or not route.response_model_by_alias
        or route.response_model_exclude_unset
        or route.response_model_exclude_defaults
        or route.response_model_exclude_none
        or not route.strict_content_type
        or route.max_body_size is not None
    )


def _awaitable(dependant: Dependant) -> Callable[..., Awaitable[Any]]:
    """The function, if it is one that can be called as it is."""
    function = dependant.call
    if (
        function is None
        or not (iscoroutinefunction(function) or iscoroutinefunction(type(function).__call__))
        or dependant.query_params
        or dependant.header_params
        or dependant.cookie_params
        or dependant.http_connection_param_name
        or dependant.background_tasks_param_name
        or dependant.security_scopes_param_name
        or dependant.concurrency
        or not dependant.use_cache
    ):
        raise _Unplanned
    return function


def _body_of(route: APIRoute) -> TypeAdapter[Any] | None:
    """What reads the body, when the body as a whole is one argument."""
    if route.body_field is None:
        return None
    about = route.body_field.field_info
    is_unused = route.dependant.body_params == [route.body_field]
    if not is_unused or isinstance(about, params.Form) or not about.is_required():
        raise _Unplanned
    return TypeAdapter[Any](about.annotation or Any)


async def _json_body(request: Request) -> bytes | None:
    """None when there is none that is JSON, as its type says."""
    try:
        body = await request.body()
    except ClientDisconnect:
        raise HTTPException(400) from None  # which nobody is there to read
    media_type = (header(request, b"content-type") or b"").partition(b";")[0].strip().lower()
    is_json = media_type == b"application/json" or media_type.endswith(b"+json")
    return body if body and is_json else None
