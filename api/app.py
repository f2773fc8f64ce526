"""The application as HTTP: every route, closed unless it is public by name."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

from fastapi import FastAPI
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from fastapi.routing import APIRouter
from opentelemetry.trace import TracerProvider
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.types import ASGIApp

from api import administration, auth, health, one_time_codes, posts, users, votes
from api.cors import EXPOSED, HEADERS, METHODS, Cors
from api.dependencies import asks_for_the_current_user
from api.docs import add_docs
from api.errors import add_error_handlers, problem_schemas
from api.fastpath.routes import Route, RouteTable
from api.middleware import BODY_MAX, AccessLog, RequestMiddleware, answer_failure, write_nothing
from api.observability import Metrics, RequestMetrics, add_metrics, with_trace_id
from api.pages import Cursors
from application.services import Ports, build_services

PUBLIC: tuple[APIRouter, ...] = (
    auth.public,
    auth.well_known,
    users.public,
    one_time_codes.public,
    one_time_codes.resets,
    health.public,
)
PROTECTED: tuple[APIRouter, ...] = (
    # Paths are tried one after the other: those asked for most come first.
    users.protected,
    posts.protected,
    votes.protected,
    auth.protected,
    users.with_password,
    one_time_codes.protected,
    administration.protected,
)

LOCAL_LOGIN: tuple[APIRouter, ...] = (
    auth.public,
    auth.protected,
    users.with_password,
    one_time_codes.resets,
)
"""What is not there when an outside provider logs users in."""

DESCRIPTION = "Users, sessions and posts, with the current user at hand in every route."

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


class _Application(FastAPI):
    is_traced = False

    def build_middleware_stack(self) -> ASGIApp:
        if self.is_traced:  # FastAPI's spans are made on its own way to a route
            return super().build_middleware_stack()
        others = AsyncExitStackMiddleware(self.router)
        app: ASGIApp = RouteTable(self.routes, others)
        # What Starlette and FastAPI put around this besides, the edge does.
        app = ExceptionMiddleware(app, handlers=self.exception_handlers)
        for middleware in reversed(self.user_middleware):
            app = middleware.cls(app, *middleware.args, **middleware.kwargs)
        return app

    def openapi(self) -> dict[str, Any]:
        document = super().openapi()
        document["components"]["schemas"] |= problem_schemas()
        for methods in document["paths"].values():
            for operation in methods.values():
                operation.setdefault("security", [])  # public, and not just forgotten
        return document


def create_app(
    ports: Ports,
    *,
    cursor_key: bytes,
    cors_origins: Sequence[str] = (),
    access_log: AccessLog = write_nothing,
    log_email: bool = False,
    metrics: Metrics | None = None,
    tracer_provider: TracerProvider | None = None,
    lifespan: Lifespan | None = None,
) -> FastAPI:
    """The ASGI application that serves `ports`.

    `cursor_key` signs the cursors of lists: secret, and the same in all processes that serve the
    same clients. `metrics`, if given, counts requests and is what `/metrics` shows;
    `tracer_provider`, if given, gets a span of each.
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
        },
        redirect_slashes=False,
        # Or else a large field of a form is a 400 where a large body is a 413.
        form_limits={"max_part_size": BODY_MAX},
    )
    app.is_traced = tracer_provider is not None
    app.state.services = build_services(ports)
    app.state.cursors = Cursors(cursor_key)
    # Routes are tried in this order. Not by include_router, which would match each path twice.
    left_out = () if ports.tokens.has_local_login else LOCAL_LOGIN
    for router in (router for router in PROTECTED if router not in left_out):
        for route in router.routes:
            if not (isinstance(route, Route) and asks_for_the_current_user(route)):
                raise TypeError(f"{route} is protected and does not ask for the current user")
            app.router.routes.append(route)
    for router in (router for router in PUBLIC if router not in left_out):
        app.router.routes.extend(router.routes)
    add_docs(app)
    if metrics:
        add_metrics(app, metrics)
        access_log = RequestMetrics(metrics.registry).counted(access_log)
    if tracer_provider:
        access_log = with_trace_id(access_log)
    add_error_handlers(app)
    on_failure: ASGIApp = answer_failure
    if cors_origins:
        cors = partial(
            Cors,
            allow_origins=cors_origins,
            allow_methods=METHODS,
            allow_headers=HEADERS,
            expose_headers=EXPOSED,
        )
        app.add_middleware(cors)
        on_failure = cors(answer_failure)  # a page may read that it failed
    app.add_middleware(
        RequestMiddleware, on_failure=on_failure, access_log=access_log, log_email=log_email
    )
    return app
