"""The application as HTTP: every route, closed unless it is public by name."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

from fastapi import FastAPI
from fastapi.routing import APIRouter
from starlette.middleware.cors import CORSMiddleware

from api import auth, health, posts, users
from api.dependencies import asks_for_the_current_user
from api.docs import add_docs
from api.edge import Edge
from api.errors import add_error_handlers
from api.pages import Cursors
from application.services import Ports, build_services

PUBLIC: tuple[APIRouter, ...] = (auth.public, users.public, health.public)
PROTECTED: tuple[APIRouter, ...] = (users.protected, posts.protected)

DESCRIPTION = "Users, sessions and posts, with the current user at hand in every route."

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def create_app(
    ports: Ports,
    *,
    cursor_key: bytes,
    cors_origins: Sequence[str] = (),
    log_email: bool = False,
    lifespan: Lifespan | None = None,
) -> FastAPI:
    """The ASGI application that serves `ports`.

    `cursor_key` signs the cursors of lists: secret, and the same in all processes that serve the
    same clients.
    """
    app = FastAPI(
        title="Gatepost",
        version="0.1.0",
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.state.services = build_services(ports)
    app.state.cursors = Cursors(cursor_key)
    for router in PUBLIC:
        # Not include_router, which matches every request's path twice.
        app.router.routes.extend(router.routes)
    for router in PROTECTED:
        for route in router.routes:
            if not asks_for_the_current_user(route):
                raise TypeError(f"{route} is protected and does not ask for the current user")
            app.router.routes.append(route)
    add_docs(app)
    add_error_handlers(app)
    if cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=cors_origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=[
                "Authorization",
                "Content-Type",
                "If-Match",
                "If-None-Match",
                "Idempotency-Key",
            ],
            expose_headers=[
                "ETag",
                "Link",
                "Location",
                "Retry-After",
                "RateLimit",
                "RateLimit-Policy",
                "X-Request-ID",
            ],
        )
    app.add_middleware(Edge, log_email=log_email)
    return app
