"""Maps errors to responses. Only this module chooses the status of an error.

Every error response is `application/problem+json` (RFC 9457) and never repeats the client's input.
"""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response, params
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from api.methods import allowed_methods
from api.request_context import base_url, request_context
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
from domain.factors import StaleLogin
from domain.scopes import InsufficientScope
from domain.sessions import InvalidToken, NotAuthenticated

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

# The names in RFC 9110. Python's `HTTPStatus` has other ones in some versions.
_PHRASES = {413: "Content Too Large", 422: "Unprocessable Content"}

RESOURCE_METADATA = "/.well-known/oauth-protected-resource"
"""The path of the metadata that a 401 leads to (RFC 9728, section 3)."""

ERRORS_MAX = 100
"""Maximum number of errors that a 422 lists."""
_TOO_MANY = {"type": "too_many_errors", "msg": "Too many errors to list"}

HTTP_CODES = {
    404: "not_found",
    405: "method_not_allowed",
    413: "content_too_large",
    415: "unsupported_media_type",
    422: "validation_failed",
}
"""Codes of the errors that FastAPI and Starlette raise themselves, by status."""


def phrase(status: int) -> str:
    """The name of `status` in RFC 9110, section 15."""
    return _PHRASES.get(status, HTTPStatus(status).phrase)


def status_of(error: type[DomainError]) -> int:
    """The status of the error's kind."""
    return next(STATUSES[kind] for kind in error.__mro__ if kind in STATUSES)


def problem_response(
    status: int,
    code: str,
    detail: str,
    request_id: str,
    *,
    headers: Mapping[str, str] | None = None,
    errors: Sequence[Mapping[str, Any]] = (),
    members: Mapping[str, object] | None = None,
) -> Response:
    """`members` are extension members (RFC 9457, section 3.2)."""
    body: dict[str, object] = {
        "type": "about:blank",
        "title": phrase(status),
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id,
    }
    if errors:
        body["errors"] = errors
    body |= members or {}
    return Response(
        json.dumps(body, separators=(",", ":")),
        status,
        headers,
        media_type="application/problem+json",
    )


def add_error_handlers(app: FastAPI) -> None:
    app.exception_handler(DomainError)(_on_domain_error)
    app.exception_handler(HTTPException)(on_http_exception)
    app.exception_handler(RequestValidationError)(_on_invalid_request)


async def _on_domain_error(request: Request, error: DomainError) -> Response:
    headers = {}
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = _challenge(error, request)
    if isinstance(error, InsufficientScope):  # RFC 6750, section 3.1
        headers["WWW-Authenticate"] = f'Bearer error="insufficient_scope", scope="{error.scope}"'
    if isinstance(error, (TooMany, Unavailable)):
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, TooManyRequests):
        request_context(request).limit_statuses = [error.status]
    if error.members:
        headers["Cache-Control"] = "no-store"
    return _problem(
        request,
        status_of(type(error)),
        error.code,
        error.detail,
        headers=headers,
        members=error.members,
    )


def _challenge(error: Unauthenticated, request: Request) -> str:
    """The value of `WWW-Authenticate`. A request without a token gets no error code (RFC 6750,
    section 3.1), but the address of the metadata (RFC 9728, section 5.1).
    """
    if isinstance(error, NotAuthenticated):
        return f'Bearer resource_metadata="{base_url(request)}{RESOURCE_METADATA}"'
    if isinstance(error, StaleLogin):
        return f'Bearer error="insufficient_user_authentication", max_age="{error.max_age}"'
    return 'Bearer error="invalid_token"' if isinstance(error, InvalidToken) else "Bearer"


async def on_http_exception(request: Request, error: HTTPException) -> Response:
    """Errors that FastAPI and Starlette raise themselves."""
    status = error.status_code
    if status == 400:
        # The body is not UTF-8, nested too deeply, or not a form: a 422, as for invalid JSON.
        unreadable = {"loc": ("body",), "msg": "The body cannot be read", "type": "body_invalid"}
        return await _on_invalid_request(request, RequestValidationError([unreadable]))
    headers = dict(error.headers or {})
    if status == 405:
        headers["Allow"] = ", ".join(allowed_methods(request))
    code = HTTP_CODES.get(status, "http_error")
    return _problem(request, status, code, phrase(status), headers=headers)


def located(error: ValidationError, place: str) -> list[dict[str, Any]]:
    """The errors in FastAPI's format. `place` is the part of the request: "body", "query"...

    More than `ERRORS_MAX` errors become one. A body of unknown members can have hundreds of
    thousands, which take seconds to list and megabytes to send.
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
            request,
            415,
            HTTP_CODES[415],
            "The media type of the request body is not supported here",
        )
    details = error.errors()
    if len(details) > ERRORS_MAX:  # only without the fast path, which calls `located`
        details = [_TOO_MANY | {"loc": details[0]["loc"][:1]}]
    errors = [
        {
            # The last part of the location of an unknown member is its name: the client's input.
            "loc": list(detail["loc"][: -1 if detail["type"] == "extra_forbidden" else None]),
            "msg": detail["msg"],
            "type": detail["type"],
        }
        for detail in details
    ]
    return _problem(request, 422, HTTP_CODES[422], "The request is not valid", errors=errors)


def _problem(request: Request, status: int, code: str, detail: str, **members: Any) -> Response:
    context = request_context(request)
    context.error = code
    return problem_response(status, code, detail, context.request_id, **members)


def _is_of_another_type(request: Request, error: RequestValidationError) -> bool:
    """Whether the media type kept the body from being read.

    FastAPI then reports the body as missing or as no object.
    """
    body_field = request.scope["route"].body_field
    content_type = request.headers.get("content-type", "")
    if body_field is None or not any(detail["loc"][0] == "body" for detail in error.errors()):
        return False
    media_type = content_type.partition(";")[0].strip().lower()
    if not media_type:
        announced = int(request.headers.get("content-length", "0"))
        return announced > 0 or "transfer-encoding" in request.headers
    if isinstance(body_field.field_info, params.Form):
        more: tuple[str, ...] = getattr(request.scope["route"], "more_media_types", ())
        return media_type not in (
            "application/x-www-form-urlencoded",
            "multipart/form-data",
            *more,
        )
    return not (media_type == "application/json" or media_type.endswith("+json"))
