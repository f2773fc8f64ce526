"""What is counted of requests, and `/metrics`, where Prometheus reads it."""

from collections.abc import Callable
from hmac import compare_digest
from typing import Any, Protocol

from fastapi import FastAPI, Request, Response
from opentelemetry import trace
from prometheus_client import CollectorRegistry, Counter, Histogram

from api.dependencies import bearer_token
from api.middleware import AccessLog
from api.routing import public_router
from domain.sessions import InvalidToken


class Metrics(Protocol):
    @property
    def registry(self) -> CollectorRegistry:
        """Where what is counted here is registered too."""
        ...

    async def exposition(self, accept: str) -> tuple[bytes, str]:
        """All metrics in the form that an Accept header asks for, and the form's media type."""
        ...


_Labels = tuple[str, str, int]

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_LOGINS = {200: "succeeded", 401: "failed", 429: "refused", 503: "refused"}


class RequestMetrics:
    """Labels have few values, whatever is asked for: `route` is a template, or empty for what
    reached no route, and a method that no route has is `other`.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "gatepost_http_requests_total",
            "Requests that were answered; status 0: the connection broke before",
            ["method", "route", "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            "gatepost_http_request_duration_seconds",
            "From a request's head to the end of its answer",
            ["method", "route"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self._logins = Counter(
            "gatepost_logins_total",
            "Logins by outcome: succeeded, failed, refused (by a limit, or for want of capacity)",
            ["outcome"],
            registry=registry,
        )
        self._refusals = Counter(
            "gatepost_refusals_total",
            "Answers 401 by their code, and 429 by the limit that was used up",
            ["status", "reason"],
            registry=registry,
        )
        # Finding the counter of a set of labels costs as much as counting.
        self._known: dict[_Labels, tuple[Callable[[], None], Callable[[float], None]]] = {}

    def counted(self, access_log: AccessLog) -> AccessLog:
        """`access_log`, with what it notes counted."""

        def note(method: str, path: str, **fields: Any) -> None:
            access_log(method, path, **fields)
            route, status = fields["route"] or "", fields["status"]
            labels = (method if method in _METHODS else "other", route, status)
            count, observe = self._known.get(labels) or self._meet(labels)
            count()
            observe(fields["duration_ms"] / 1000)
            if status in (401, 429):
                self._refusals.labels(status, fields["limit"] or fields["error"]).inc()
            if route == "/login" and method == "POST" and status in _LOGINS:
                self._logins.labels(_LOGINS[status]).inc()

        return note

    def _meet(self, labels: _Labels) -> tuple[Callable[[], None], Callable[[float], None]]:
        counting = (
            self._requests.labels(*labels).inc,
            self._seconds.labels(*labels[:2]).observe,
        )
        self._known[labels] = counting
        return counting


def with_trace_id(access_log: AccessLog) -> AccessLog:
    """`access_log`, told the trace that a request is part of as well."""

    def note(method: str, path: str, **fields: Any) -> None:
        context = trace.get_current_span().get_span_context()
        trace_id = trace.format_trace_id(context.trace_id) if context.is_valid else None
        access_log(method, path, trace_id=trace_id, **fields)

    return note


def add_metrics(app: FastAPI, metrics: Metrics, token: str | None = None) -> None:
    """Serve `/metrics` outside the schema; with a `token`, only to whoever sends it as a bearer
    token. Others get the 401 of any route (RFC 6750, section 3).
    """
    router = public_router("operations")

    @router.get("/metrics", include_in_schema=False, response_class=Response)
    async def show_metrics(request: Request) -> Response:
        if token and not compare_digest(bearer_token(request).encode("latin-1"), token.encode()):
            raise InvalidToken
        body, media_type = await metrics.exposition(request.headers.get("accept", ""))
        headers = {"Content-Type": media_type, "Cache-Control": "no-store"}
        return Response(body, headers=headers)

    app.include_router(router)
