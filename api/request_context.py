"""What one request and its answer are called by, from the edge to the log."""

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import Request

from application.ports.limits import LimitStatus
from domain.sessions import Session
from domain.users import User

SCOPE_KEY = "gatepost.exchange"


@dataclass(slots=True)
class RequestContext:
    request_id: str
    user: User | None = None
    """The current user, once there is one."""
    session: Session | None = None
    """The one that the current user's token is of."""
    is_counted: bool = False
    """Whether the limit of the route has counted the request."""
    limit_statuses: Sequence[LimitStatus] = ()
    """Of the limits that the answer tells."""
    error: str | None = None
    """The code of the problem that the answer tells."""
    status: int = 0
    """Of the answer; 0 while there is none."""


def request_context(request: Request) -> RequestContext:
    exchange: RequestContext = request.scope[SCOPE_KEY]
    return exchange


def address_of(request: Request) -> str | None:
    """Where the request comes from, as far as trusted proxies tell."""
    return request.client.host if request.client else None
