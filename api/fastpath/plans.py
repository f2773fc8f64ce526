"""Plans: the inputs of a route, derived once from FastAPI's description of the route."""

from collections.abc import Awaitable, Callable, Sequence
from inspect import Parameter, iscoroutinefunction, signature
from operator import itemgetter
from typing import Any
from urllib.parse import parse_qsl

from fastapi import Request, Response, params
from fastapi._compat import ModelField
from fastapi.datastructures import DefaultPlaceholder
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError, ResponseValidationError
from fastapi.routing import RouteContext
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from api.dependencies import current_user
from api.errors import located
from api.request_context import request_context
from api.routing import ProtectedRoute, Route
from domain.users import User


class Unplanned(Exception):
    """A signature that is left to FastAPI."""


Values = list[Any]
"""The values gathered for a request so far; each step appends one."""
Errors = list[Any]
Step = Callable[[Request, Values, Errors], Any]
"""Returns the next value, or an awaitable of it; adds what is wrong with the input to the errors.
"""

_REQUEST, _RESPONSE = range(2)
"""Their places among the values; the results of the steps come behind them."""

_MISSING = {"type": "missing", "loc": ("body",), "msg": "Field required"}


class Plan:
    """How requests of a route are answered. Raises `Unplanned`.

    Takes the steps in FastAPI's order: dependencies in the order of the signature, then path,
    query, headers and body of the endpoint. All that is wrong with the input is one 422.
    """

    def __init__(self, route: RouteContext) -> None:
        original = route.original_route
        if not isinstance(original, Route) or _has_options(route):
            raise Unplanned
        self._is_protected = isinstance(original, ProtectedRoute)
        dependant: Dependant = route.dependant
        self._admit = original.admit
        self._convertors = route.param_convertors
        self._field: ModelField | None = route.response_field
        self._status: int = route.status_code or 200
        self._asks_for_response = dependant.response_param_name is not None
        self._steps: list[tuple[bool, Step]] = []
        """Each with whether its value must be awaited."""
        self._places: dict[object, int] = {}
        arguments = self._gather(dependant)
        if route.body_field is not None:
            step = self._add(_body_step(route), is_async=True)
            arguments.append((route.body_field.name, step))
        self._endpoint = _call(dependant, arguments)

    def path_values(self, found: dict[str, str]) -> dict[str, Any]:
        return {name: self._convertors[name].convert(value) for name, value in found.items()}

    async def __call__(self, request: Request) -> Response:
        """The answer. Raises what the route's own handler would raise."""
        await self._admit(request)
        given = Response(status_code=self._status) if self._asks_for_response else None
        values: Values = [request, given]
        errors: Errors = []
        for is_async, step in self._steps:
            value = step(request, values, errors)
            values.append(await value if is_async else value)
        if errors:
            raise RequestValidationError(errors)
        answer = await self._endpoint(values)
        return answer if isinstance(answer, Response) else self._response(answer, given)

    def _response(self, answer: Any, given: Response | None) -> Response:
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

    def _gather(self, dependant: Dependant) -> list[tuple[str, int]]:
        """Add the steps that a function needs; its arguments, each with the place of its value."""
        children = [(child.name, self._place(child)) for child in dependant.dependencies]
        arguments = [(name, place) for name, place in children if name]
        given = [
            (dependant.request_param_name, _REQUEST),
            (dependant.http_connection_param_name, _REQUEST),
            (dependant.response_param_name, _RESPONSE),
        ]
        arguments += [(name, place) for name, place in given if name]
        inputs = [(field, _path_step(field)) for field in dependant.path_params]
        inputs += [(field, _query_step(field, dependant)) for field in dependant.query_params]
        inputs += [(field, _header_step(field)) for field in dependant.header_params]
        return arguments + [(field.name, self._add(step)) for field, step in inputs]

    def _place(self, dependant: Dependant) -> int:
        """The position of a dependency's value, which is computed once for each request."""
        if dependant.call not in self._places:
            # What FastAPI does with a dependency whose own input is wrong is left to FastAPI.
            if dependant.path_params or dependant.query_params or dependant.body_params:
                raise Unplanned
            if dependant.response_param_name:
                raise Unplanned
            if self._is_protected and dependant.call is current_user:
                place = self._add(_admitted_user)
            else:
                call = _call(dependant, self._gather(dependant))
                place = self._add(lambda _, values, __: call(values), is_async=True)
            self._places[dependant.call] = place
        return self._places[dependant.call]

    def _add(self, step: Step, *, is_async: bool = False) -> int:
        self._steps.append((is_async, step))
        return 1 + len(self._steps)


def _call(
    dependant: Dependant, arguments: Sequence[tuple[str, int]]
) -> Callable[[Values], Awaitable[Any]]:
    """Calls a function; `arguments` has the position of each argument among the values."""
    function = dependant.call
    if (
        function is None
        or not (iscoroutinefunction(function) or iscoroutinefunction(type(function).__call__))
        or dependant.cookie_params
        or dependant.background_tasks_param_name
        or dependant.security_scopes_param_name
        or dependant.concurrency
        or not dependant.use_cache
    ):
        raise Unplanned
    parameters = signature(function).parameters
    by_name = dict(arguments)
    if any(parameter.kind is Parameter.KEYWORD_ONLY for parameter in parameters.values()):
        return lambda values: function(**{name: values[by_name[name]] for name in by_name})
    places = [by_name[name] for name in parameters]
    match places:
        case []:
            return lambda _: function()
        case [place]:
            return lambda values: function(values[place])
    chosen = itemgetter(*places)  # half a microsecond less than a dictionary of names
    return lambda values: function(*chosen(values))


def _admitted_user(request: Request, _: Values, __: Errors) -> User | None:
    """The user whom the route has authenticated before the first step."""
    return request_context(request).user


def _path_step(field: ModelField) -> Step:
    place = ("path", field.alias)

    def read(request: Request, _: Values, errors: Errors) -> Any:
        value, wrong = field.validate(request.scope["path_params"][field.alias], loc=place)
        errors += wrong
        return value

    return read


def _query_step(field: ModelField, dependant: Dependant) -> Step:
    """Reads the one model that names all parameters of the query."""
    model = field.field_info.annotation
    if len(dependant.query_params) > 1 or not _is_flat_model(model):
        raise Unplanned

    def read(request: Request, _: Values, errors: Errors) -> Any:
        query: bytes = request.scope["query_string"]
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True) if query else ()
        value, wrong = field.validate(dict(pairs), loc=("query",))
        errors += wrong
        return value

    return read


def _is_flat_model(model: Any) -> bool:
    """Whether every member is one parameter, whose value is one text."""
    return (
        isinstance(model, type)
        and issubclass(model, BaseModel)
        and not any(
            member.alias or "list" in str(member.annotation) or "tuple" in str(member.annotation)
            for member in model.model_fields.values()
        )
    )


def _header_step(field: ModelField) -> Step:
    """Reads a header of which a signature asks for every line, or None."""
    if field.field_info.annotation != list[str] | None or field.get_default() is not None:
        raise Unplanned
    name = field.alias.lower().encode("latin-1")

    def read(request: Request, _: Values, __: Errors) -> Any:
        lines = [str(value, "latin-1") for key, value in request.scope["headers"] if key == name]
        return lines or None

    return read


def _body_step(route: RouteContext) -> Step:
    """Reads the body when it is one argument as a whole."""
    about = route.body_field.field_info
    is_whole = route.dependant.body_params == [route.body_field]
    if not is_whole or isinstance(about, params.Form) or not about.is_required():
        raise Unplanned
    adapter = TypeAdapter[Any](about.annotation or Any)

    async def read(request: Request, _: Values, errors: Errors) -> Any:
        body = await _json_body(request)
        if body is None:
            errors.append(_MISSING)
            return None
        try:
            return adapter.validate_json(body)
        except ValidationError as error:
            errors += located(error, "body")
            return None

    return read


async def _json_body(request: Request) -> bytes | None:
    """None when there is no body whose media type says that it is JSON."""
    try:
        body = await request.body()
    except ClientDisconnect:
        raise HTTPException(400) from None  # nobody is there to read it
    types = [value for name, value in request.scope["headers"] if name == b"content-type"]
    media_type = types[0].partition(b";")[0].strip().lower() if types else b""
    is_json = media_type == b"application/json" or media_type.endswith(b"+json")
    return body if body and is_json else None


def _has_options(route: RouteContext) -> bool:
    """Whether the route treats its answer or its body in another way than the default."""
    answers_by_default = (
        isinstance(route.response_class, DefaultPlaceholder)
        if route.response_field
        else route.response_class is Response
    )
    strict_content_type = route.strict_content_type
    if isinstance(strict_content_type, DefaultPlaceholder):
        strict_content_type = strict_content_type.value
    return (
        not answers_by_default
        or route.response_model_include is not None
        or route.response_model_exclude is not None
        or not route.response_model_by_alias
        or route.response_model_exclude_unset
        or route.response_model_exclude_defaults
        or route.response_model_exclude_none
        or not strict_content_type
        or route.max_body_size is not None
    )
