"""Metrics of requests, and the route `/metrics` for Prometheus."""

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
        """The registry for further metrics."""
        ...

    async def exposition(self, accept: str) -> tuple[bytes, str]:
        """All metrics in the format that the header Accept asks for, and its media type."""
        ...


_Labels = tuple[str, str, int]

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_LOGINS = {200: "succeeded", 401: "failed", 429: "refused", 503: "refused"}


class RequestMetrics:
    """Counts and times requests and logins.

    Labels have few values, whatever clients send: `route` is a path template, or empty without a
    matching route, and an unknown method is `other`.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "gatepost_http_requests_total",
            "Requests by status; status 0: the connection broke before the response",
            ["method", "route", "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            "gatepost_http_request_duration_seconds",
            "Seconds from the head of a request to the end of its response",
            ["method", "route"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self._logins = Counter(
            "gatepost_logins_total",
            "Logins by outcome: succeeded, failed, refused (by a limit or for lack of capacity)",
            ["outcome"],
            registry=registry,
        )
        self._refusals = Counter(
            "gatepost_refusals_total",
            "Responses 401 by code, and 429 by the exhausted limit",
            ["status", "reason"],
            registry=registry,
        )
        # A cache: looking up the counter for a set of labels costs as much as counting.
        self._metrics: dict[_Labels, tuple[Callable[[], None], Callable[[float], None]]] = {}

    def counted(self, access_log: AccessLog) -> AccessLog:
        """`access_log` that also counts each request."""

        def note(method: str, path: str, **fields: Any) -> None:
            access_log(method, path, **fields)
            route, status = fields["route"] or "", fields["status"]
            labels = (method if method in _METHODS else "other", route, status)
            count, observe = self._metrics.get(labels) or self._metrics_for(labels)
            count()
            observe(fields["duration_ms"] / 1000)
            if status in (401, 429):
                self._refusals.labels(status, fields["limit"] or fields["error"]).inc()
            if route == "/login" and method == "POST" and status in _LOGINS:
                self._logins.labels(_LOGINS[status]).inc()

        return note

    def _metrics_for(self, labels: _Labels) -> tuple[Callable[[], None], Callable[[float], None]]:
        counting = (
            self._requests.labels(*labels).inc,
            self._seconds.labels(*labels[:2]).observe,
        )
        self._metrics[labels] = counting
        return counting


def with_trace_id(access_log: AccessLog) -> AccessLog:
    """`access_log` that also logs the trace id of each request."""

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
