"""From an error to its answer: the one place where a status is chosen.

Every answer is `application/problem+json` (RFC 9457) and never repeats what the client sent.
"""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response, params
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel, Field, ValidationError
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException

from api.request_context import request_context
from application.ports.limits import TooManyRequests
from domain.errors import (
    Conflict,
    DomainError,
    Invalid,
    NotAllowed,
    NotFound,
    RuleBroken,
    Stale,
    TooMany,
    Unauthenticated,
    Unavailable,
)
from domain.sessions import InvalidToken

STATUSES: dict[type[DomainError], int] = {
    Invalid: 400,
    Unauthenticated: 401,
    NotAllowed: 403,
    NotFound: 404,
    Conflict: 409,
    Stale: 412,
    RuleBroken: 422,
    TooMany: 429,
    Unavailable: 503,
}

# RFC 9110's names; those that Python gives differ between its versions.
_PHRASES = {413: "Content Too Large", 422: "Unprocessable Content"}

ERRORS_MAX = 100
"""Errors of one request that are listed in its 422."""
_TOO_MANY = {"type": "too_many_errors", "msg": "Too many errors to list"}

_CODES = {404: "not_found", 405: "method_not_allowed"}
_CODES |= {413: "content_too_large", 415: "unsupported_media_type", 422: "validation_failed"}


class FieldError(BaseModel):
    loc: list[str | int] = Field(examples=[["body", "title"]])
    msg: str = Field(examples=["Field required"])
    type: str = Field(examples=["missing"])


class Problem(BaseModel):
    """A problem, as RFC 9457 has it."""

    type: str = Field("about:blank", examples=["about:blank"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["Post with id: 7 was not found"])
    code: str = Field(description="Stable name of the error", examples=["post_not_found"])
    request_id: str = Field(examples=["5f0c6e1d8a9b4c7e"])
    errors: list[FieldError] = Field(
        default=[], description="What is wrong where; on a refused request body or query alone"
    )


def phrase(status: int) -> str:
    """What RFC 9110 calls `status`."""
    return _PHRASES.get(status, HTTPStatus(status).phrase)


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI entry of the problems that a route may answer with."""
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {
        status: {
            "description": phrase(status),
            "content": {"application/problem+json": schema},
        }
        for status in statuses
    }


def problem_schemas() -> dict[str, Any]:
    """What `documented` refers to, for the OpenAPI document's components."""
    template = "#/components/schemas/{model}"
    _, schema = models_json_schema([(Problem, "serialization")], ref_template=template)
    definitions: dict[str, Any] = schema["$defs"]
    return definitions


def problem_response(
    status: int,
    code: str,
    detail: str,
    request_id: str,
    *,
    headers: Mapping[str, str] | None = None,
    errors: Sequence[Mapping[str, Any]] = (),
) -> Response:
    body = {
        "type": "about:blank",
        "title": phrase(status),
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id,
    }
    if errors:
        body["errors"] = errors
    return Response(
        json.dumps(body, separators=(",", ":")),
        status,
        headers,
        media_type="application/problem+json",
    )


def add_error_handlers(app: FastAPI) -> None:
    app.exception_handler(DomainError)(_on_domain_error)
    app.exception_handler(HTTPException)(_on_http_exception)
    app.exception_handler(RequestValidationError)(_on_invalid_request)


async def _on_domain_error(request: Request, error: DomainError) -> Response:
    kind = next(kind for kind in type(error).__mro__ if kind in STATUSES)
    headers = {}
    if isinstance(error, Unauthenticated):
        # RFC 6750, section 3.1: no error code for a request that carried no token.
        bad_token = isinstance(error, InvalidToken)
        headers["WWW-Authenticate"] = 'Bearer error="invalid_token"' if bad_token else "Bearer"
    if isinstance(error, (TooMany, Unavailable)):
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, TooManyRequests):
        request_context(request).limit_statuses = [error.status]
    return _problem(request, STATUSES[kind], error.code, error.detail, headers=headers)


async def _on_http_exception(request: Request, error: HTTPException) -> Response:
    """The framework's own refusals."""
    status = error.status_code
    if status == 400:
        # A body that is no UTF-8, too deep, or no form. Broken JSON is the same to a client.
        unreadable = {"loc": ("body",), "msg": "The body cannot be read", "type": "body_invalid"}
        return await _on_invalid_request(request, RequestValidationError([unreadable]))
    headers = dict(error.headers or {})
    if status == 405:
        headers["Allow"] = ", ".join(_allowed_methods(request))
    code = _CODES.get(status, "http_error")
    return _problem(request, status, code, phrase(status), headers=headers)


def _allowed_methods(request: Request) -> list[str]:
    """Starlette names the methods of the first route with this path; a path may have several."""
    methods: set[str] = set()
    path = request.scope["path"]
    for route in iter_route_contexts(request.app.routes):
        if route.path_regex.match(path):
            methods |= route.methods or set()
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))


def located(error: ValidationError, place: str) -> list[dict[str, Any]]:
    """What is wrong, as FastAPI has it: `place` is the part of the request that it is in.

    More than `ERRORS_MAX` errors become one: a body of unknown members has hundreds of thousands,
    which take seconds to list and megabytes to answer.
    """
    if error.error_count() > ERRORS_MAX:
        return [_TOO_MANY | {"loc": (place,)}]
    return [
        {**detail, "loc": (place, *detail["loc"])}
        for detail in error.errors(include_url=False, include_input=False)
    ]


async def _on_invalid_request(request: Request, error: RequestValidationError) -> Response:
    if _is_of_another_type(request, error):
        return _problem(
            request, 415, _CODES[415], "The request body is of a type that is not taken here"
        )
    details = error.errors()
    if len(details) > ERRORS_MAX:  # when FastAPI validated the request
        details = [_TOO_MANY | {"loc": details[0]["loc"][:1]}]
    errors = [
        {
            # Of an unknown member, the name itself is the client's.
            "loc": list(detail["loc"][: -1 if detail["type"] == "extra_forbidden" else None]),
            "msg": detail["msg"],
            "type": detail["type"],
        }
        for detail in details
    ]
    return _problem(request, 422, _CODES[422], "The request is not valid", errors=errors)


def _problem(request: Request, status: int, code: str, detail: str, **members: Any) -> Response:
    exchange = request_context(request)
    exchange.error = code
    return problem_response(status, code, detail, exchange.request_id, **members)


def _is_of_another_type(request: Request, error: RequestValidationError) -> bool:
    """Whether the body was not even read: FastAPI then calls it missing, or no object."""
    body_field = request.scope["route"].body_field
    content_type = request.headers.get("content-type", "")
    if body_field is None or not any(detail["loc"][0] == "body" for detail in error.errors()):
        return False
    media_type = content_type.partition(";")[0].strip().lower()
    if not media_type:
        announced = int(request.headers.get("content-length", "0"))
        return announced > 0 or "transfer-encoding" in request.headers
    if isinstance(body_field.field_info, params.Form):
        return media_type not in ("application/x-www-form-urlencoded", "multipart/form-data")
    return not (media_type == "application/json" or media_type.endswith("+json"))
