"""What every request passes first and every answer last, as plain ASGI.

Here a request gets its id, loses a trailing slash and a body that is too large, HEAD becomes GET,
what nobody caught becomes a 500, and the answer gets the headers that all answers have, and its
line in the log.
"""

import asyncio
import logging
import re
from itertools import count
from secrets import token_hex
from string import printable
from time import perf_counter
from typing import Protocol
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import problem_response
from api.limits import limit_headers
from api.request_context import SCOPE_KEY, RequestContext, is_draining
from application.ports.limits import TooManyRequests
from application.request_info import REQUEST_INFO, RequestInfo

BODY_MAX = 16 * 1024
"""Bytes of a request's body."""
BODY_MAX_BELOW: dict[str, int] = {
    "posts": 2 * 1024 * 1024,  # posts only
}
"""The same, by the first segment of the path."""
HEAD_MAX = 32 * 1024
"""Bytes of a request's head."""
FIELDS_MAX = 100
"""Header fields of a request."""
LOGGED_PATH_MAX = 1000
"""Bytes of a path, still percent-encoded, that reach the access log, and the metrics and redaction
behind it.
"""

_REFUSED = (401, 403, 429)
"""Statuses whose log lines name the address of origin: guessing leaves a trace."""

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=:%\[\]-]*")  # RFC 9110, section 7.2

_PROCESS = token_hex(6)
_COUNT = count(1)

HEAD_PROBLEMS = {
    400: ("bad_request", "A request has one Host header with a valid host"),
    431: ("head_too_large", "The head of the request is too large"),
}

log = logging.getLogger("gatepost")


class AccessLog(Protocol):
    def __call__(
        self,
        method: str,
        path: str,
        *,
        route: str | None,
        status: int,
        duration_ms: float,
        request_id: str,
        user_id: int | None,
        email: str | None,
        error: str | None,
        limit: str | None,
        ip: str | None,
        trace_id: str | None = None,
    ) -> None:
        """Note a request that was answered; `status` 0 when its connection broke before that.

        `route` is the path's template, None when no route has that path; `error` the code of the
        problem that the answer tells, and `limit` the limit that was used up. `ip` is the address
        of origin of a request that was refused with 401, 403 or 429, and else None.
        """
        ...


def write_nothing(method: str, path: str, **fields: object) -> None:
    """The access log of an application without one."""


async def answer_failure(scope: Scope, receive: Receive, send: Send) -> None:
    """The 500 that tells nothing, or the 503 of what the server did not wait for."""
    context: RequestContext = scope[SCOPE_KEY]
    if context.error == "stopped":
        response = problem_response(
            503,
            context.error,
            "The service stopped before this was done: a change may have been made, or not",
            context.request_id,
            headers={"Retry-After": "1"},
        )
    else:
        response = problem_response(
            500, "internal_error", "Something went wrong on our side", context.request_id
        )
    await response(scope, receive, send)


class RequestMiddleware:
    """`on_failure` answers when `app` raises before it has answered.

    `log_email`: whether the log names users by their e-mail address, not by their id alone.
    `root_path`: the prefix that a proxy took off the path. `has_door`: whether a cookie may
    authenticate a request.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        on_failure: ASGIApp,
        access_log: AccessLog,
        log_email: bool,
        root_path: str,
        has_door: bool,
    ) -> None:
        self._app = app
        self._on_failure = on_failure
        self._access_log = access_log
        self._log_email = log_email
        self._root_path = root_path
        self._has_door = has_door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = perf_counter()
        request_id, status, has_cookie = _read_head(scope)
        state = scope.setdefault("state", {})
        request_id = state.get("request_id") or request_id or f"{_PROCESS}-{next(_COUNT):x}"
        state["request_id"] = request_id
        context = RequestContext(request_id, has_cookie=has_cookie and self._has_door)
        REQUEST_INFO.set(
            RequestInfo(context.request_id, scope["client"][0] if scope["client"] else None)
        )
        scope = {**scope, SCOPE_KEY: context}
        method: str = scope["method"]
        is_head = method == "HEAD"
        if is_head:
            scope["method"] = "GET"
        if method not in ("GET", "HEAD"):
            receive = _checked(scope, receive)
        _normalize_target(scope, self._root_path)

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                context.status = message["status"]
                _complete(message["headers"], context, scope)
            elif is_head:
                message = {**message, "body": b""}
            await send(message)

        try:
            if status is None:
                await self._app(scope, receive, send_on)
            else:
                await _refusal(status, context)(scope, receive, send_on)
        except (Exception, asyncio.CancelledError) as error:
            context.error = _failure(error, context.request_id)
            if context.status:
                raise  # too late for another answer: the server cuts the connection
            await self._on_failure(scope, receive, send_on)
        finally:
            self._note(scope, method, context, perf_counter() - started)

    def _note(self, scope: Scope, method: str, context: RequestContext, seconds: float) -> None:
        user = context.user
        # The server knows of connections that broke, and of bodies that were not HTTP.
        status, error = scope["state"].get("outcome") or (context.status, context.error)
        route = scope.get("route")
        self._access_log(
            method,
            # As it was sent, still percent-encoded: no control character gets into the log.
            scope.get("raw_path", b"")[:LOGGED_PATH_MAX].decode("latin-1"),
            route=route.path if route else None,
            status=status,
            duration_ms=round(seconds * 1000, 1),
            request_id=context.request_id,
            user_id=user.id if user else None,
            email=user.email if user and self._log_email else None,
            error=error,
            limit=context.limit_statuses[0].limit.value if error == TooManyRequests.code else None,
            ip=scope["client"][0] if context.status in _REFUSED and scope["client"] else None,
        )


def _normalize_target(scope: Scope, root_path: str) -> None:
    """Take a trailing slash off the path, put the prefix before it that a proxy took off (ASGI's
    `path` begins with its `root_path`), and percent-encode what is not ASCII in the query.
    """
    path: str = scope["path"]
    if path.endswith("/") and path != scope.get("root_path", "") + "/":
        scope["path"] = path = path[:-1]
    if root_path:
        scope["root_path"], scope["path"] = root_path, root_path + path
    query: bytes = scope["query_string"]
    if not query.isascii():  # Starlette would read bare UTF-8 as Latin-1
        scope["query_string"] = quote(query, safe=printable).encode("ascii")


def _failure(error: BaseException, request_id: str) -> str:
    if isinstance(error, asyncio.CancelledError):
        return "stopped"  # by the server, which waits no longer to stop
    log.error("failed", exc_info=error, extra={"fields": {"request_id": request_id}})
    return "internal_error"


def _read_head(scope: Scope) -> tuple[str | None, int | None, bool]:
    """The client's id of the request, if it has a valid one, the status that refuses the head, if
    one does (RFC 6585, section 5, and RFC 9112, section 3.2), and whether there is a cookie.
    """
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    request_id = None
    hosts = 0
    has_cookie = False
    # The request line: the method and the target, and at most 12 bytes besides.
    size = len(scope["method"]) + len(scope["path"]) + len(scope["query_string"]) + 12
    for name, value in headers:
        size += len(name) + len(value) + 4
        if name == b"host":
            hosts += 1 if _HOST.fullmatch(value) else 2
        elif name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            request_id = value.decode("ascii")
        elif name == b"cookie":
            has_cookie = True
    if size > HEAD_MAX or len(headers) > FIELDS_MAX:
        return request_id, 431, has_cookie
    if hosts > 1 or (hosts == 0 and scope["http_version"] == "1.1"):
        return request_id, 400, has_cookie
    return request_id, None, has_cookie


def _refusal(status: int, context: RequestContext) -> Response:
    """The answer to a head that no route is asked about."""
    code, detail = HEAD_PROBLEMS[status]
    context.error = code
    return problem_response(
        status, code, detail, context.request_id, headers={"Connection": "close"}
    )


def _complete(headers: list[tuple[bytes, bytes]], context: RequestContext, scope: Scope) -> None:
    headers.append((b"x-request-id", context.request_id.encode("ascii")))
    headers.append((b"x-content-type-options", b"nosniff"))
    if is_draining(scope):
        headers.append((b"connection", b"close"))
    if context.limit_statuses:
        headers.extend(limit_headers(context.limit_statuses))
    if context.user and b"cache-control" not in dict(headers):
        headers.append((b"cache-control", b"private, no-cache"))
    if context.has_cookie:
        headers.append((b"vary", b"Authorization, Cookie"))
    elif context.user:
        headers.append((b"vary", b"Authorization"))
    if context.cookie:
        headers.append((b"set-cookie", context.cookie.encode("latin-1")))


def _body_max(scope: Scope) -> int:
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    return BODY_MAX_BELOW.get(path[1:].partition("/")[0], BODY_MAX)


def _checked(scope: Scope, receive: Receive) -> Receive:
    """`receive` that raises a 413 for a body of more bytes than the path takes, a 415 for one with
    a content coding (RFC 9110, section 12.5.3), and keeps the outcome when the connection breaks.
    """
    most = _body_max(scope)
    announced, coding = b"0", b"identity"
    for name, value in scope["headers"]:
        if name == b"content-length":
            announced = value
        elif name == b"content-encoding":
            coding = value.strip().lower()
    total = 0

    async def receive_some() -> Message:
        nonlocal total
        if coding not in (b"identity", b""):
            raise HTTPException(415, headers={"Accept-Encoding": "identity"})
        if int(announced) > most:
            raise HTTPException(413)
        message = await receive()
        if message["type"] == "http.disconnect":
            scope["state"].setdefault("outcome", (0, None))
        total += len(message.get("body", b""))
        if total > most:
            raise HTTPException(413)
        return message

    return receive_some
