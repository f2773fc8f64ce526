"""The context of one request, shared by middleware, dependencies, error handlers and access log."""

from asyncio import Event
from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import Request
from fastapi.requests import HTTPConnection
from starlette.types import Scope

from application.ports.limits import LimitStatus
from domain.sessions import Session
from domain.users import User

SCOPE_KEY = "gatepost.request_context"


@dataclass(slots=True)
class RequestContext:
    request_id: str
    user: User | None = None
    """The current user. None before authentication."""
    session: Session | None = None
    """The session of the access token or the cookie. None before authentication."""
    has_cookie: bool = False
    """Whether the request has cookies."""
    cookie: str | None = None
    """`Set-Cookie` of the response, for a session that was extended."""
    is_counted: bool = False
    """Whether the route's limit has counted the request."""
    limit_statuses: Sequence[LimitStatus] = ()
    """Statuses of the limits that the response shows."""
    error: str | None = None
    """The code of the problem in the response."""
    status: int = 0
    """Status of the response; 0 before there is one."""


def request_context(request: HTTPConnection) -> RequestContext:
    context: RequestContext = request.scope[SCOPE_KEY]
    return context


def address_of(request: Request) -> str | None:
    """The client's address, taken from `X-Forwarded-For` if a trusted proxy sent the request.

    None for a client on a Unix socket.
    """
    return request.client.host if request.client else None


def base_url(request: Request) -> str:
    """The address of the service: `PUBLIC_URL`, or else what the client asked."""
    origin: str | None = request.app.state.services.ports.public_url
    root_path: str = request.scope.get("root_path", "")
    origin = origin or f"{request.url.scheme}://{request.url.netloc}"
    return origin.rstrip("/") + root_path.rstrip("/")


def is_draining(scope: Scope) -> bool:
    """Whether the service is about to stop, and clients should open their next connection
    elsewhere.
    """
    draining: Event | None = scope["state"].get("draining")
    return draining is not None and draining.is_set()
