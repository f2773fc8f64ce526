"""The application as HTTP: the routes of all concepts, closed unless their router is public."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRouter, iter_route_contexts
from opentelemetry.trace import TracerProvider
from starlette.types import ASGIApp

from api import auth, browser, oauth, one_time_codes, users
from api.cookies import BrowserDoor
from api.cors import EXPOSED, HEADERS, METHODS, Cors
from api.docs import add_docs
from api.errors import add_error_handlers
from api.fastpath.table import RouteTable
from api.middleware import BODY_MAX, AccessLog, RequestMiddleware, answer_failure, write_nothing
from api.observability import Metrics, RequestMetrics, add_metrics, with_trace_id
from api.pages import Cursors
from api.problems import document_problems
from api.routing import Route, refuse_undeclared_routes
from application.concepts import modules
from application.services import Ports, build_services

LOCAL_LOGIN: tuple[APIRouter, ...] = (
    auth.public,
    auth.protected,
    users.with_password,
    one_time_codes.resets,
    browser.public,
    oauth.protected,
    oauth.public,
)
"""Routers that are left out when an outside provider logs users in."""
EXTERNAL_LOGIN: tuple[APIRouter, ...] = (users.external,)
"""Routers that exist only then."""
DESCRIPTION = "A REST API with the current user at hand in every route."

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[Mapping[str, object]]]
"""Its state may have `draining`, an `asyncio.Event` that is set before the service stops."""


class _Application(FastAPI):
    def openapi(self) -> dict[str, Any]:
        document = super().openapi()
        routes = (context.original_route for context in iter_route_contexts(self.routes))
        named = {route.unique_id: route for route in routes if isinstance(route, Route)}
        document_problems(document, named)
        if self.state.door:
            schemas = document["components"]["schemas"]
            document["components"]["schemas"] = browser.login_schemas() | schemas
        for methods in document["paths"].values():
            for operation in methods.values():
                operation.setdefault("security", [])  # public, and not just forgotten
        return document


def create_app(
    ports: Ports,
    *,
    cursor_keys: Sequence[bytes],
    cors_origins: Sequence[str] = (),
    access_log: AccessLog = write_nothing,
    log_email: bool = False,
    metrics: Metrics | None = None,
    metrics_token: str | None = None,
    tracer_provider: TracerProvider | None = None,
    lifespan: Lifespan | None = None,
    fastpath: bool = True,
    root_path: str = "",
    console: bool = True,
    plain_cookies: bool = False,
) -> FastAPI:
    """The ASGI application that serves `ports`.

    `cursor_keys` verify the cursors of lists, and the first signs them: secret, and the same in all
    processes that serve the same clients. `metrics`, if given, counts requests and is what
    `/metrics` shows, with `metrics_token` only to its bearer; `tracer_provider`, if given, gets a
    span of each.
    `fastpath`: whether planned routes answer, or FastAPI's own way does. `root_path`: the prefix
    that a proxy takes off every path, without a final slash. `console`: whether browsers log in;
    `plain_cookies`: whether those over plain http get a cookie without `Secure`.
    """
    app = _Application(
        title="Gatepost",
        version="0.1.0",
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        telemetry={
            "tracing": tracer_provider is not None,
            "tracer_provider": tracer_provider,
            "metrics": False,
            "logs": False,
            "auto_configure": False,
            "operation_spans": False,
        },
        redirect_slashes=False,
        # Or else a large field of a form is a 400 where a large body is a 413.
        form_limits={"max_part_size": BODY_MAX},
    )
    app.state.services = build_services(ports)
    app.state.cursors = Cursors(cursor_keys)
    has_door = console and ports.tokens.has_local_login
    app.state.door = (
        BrowserDoor(plain_http=plain_cookies, origin=ports.public_url) if has_door else None
    )
    for router in _routers(ports, has_door=has_door):
        app.include_router(router)
    add_docs(app)
    add_error_handlers(app)
    on_failure: ASGIApp = answer_failure
    if has_door:
        # Imported here: nothing else needs the template engine.
        from api.console.error_pages import with_failure_pages
        from api.console.site import add_console

        add_console(app, has_factors=ports.factor_policy.is_on, has_passkeys=ports.has_passkeys)
        on_failure = with_failure_pages(on_failure)
    if metrics:
        add_metrics(app, metrics, metrics_token)
        access_log = RequestMetrics(metrics.registry).counted(access_log)
    if tracer_provider:
        access_log = with_trace_id(access_log)
    refuse_undeclared_routes(app)
    if fastpath:
        app.add_middleware(RouteTable, application=app)
    if cors_origins:
        cors = partial(
            Cors,
            allow_origins=cors_origins,
            allow_methods=METHODS,
            allow_headers=HEADERS,
            expose_headers=EXPOSED,
        )
        app.add_middleware(cors)
        on_failure = cors(on_failure)  # a page may read that it failed
    app.add_middleware(
        RequestMiddleware,
        on_failure=on_failure,
        access_log=access_log,
        log_email=log_email,
        root_path=root_path,
        has_door=has_door,
    )
    return app


def _routers(ports: Ports, *, has_door: bool) -> Iterator[APIRouter]:
    """The routers of all concepts, but for those that are left out with these ports: a module with
    an `is_offered(ports)` says so itself.
    """
    left_out = EXTERNAL_LOGIN if ports.tokens.has_local_login else LOCAL_LOGIN
    if not has_door:
        left_out = (*left_out, browser.public)
    for concept in modules("api"):
        if hasattr(concept, "is_offered") and not concept.is_offered(ports):
            continue
        for router in vars(concept).values():
            if isinstance(router, APIRouter) and router not in left_out:
                yield router
