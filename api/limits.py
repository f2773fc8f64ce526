"""Limits on requests, and the header fields for them (draft-ietf-httpapi-ratelimit-headers-11).

An answer shows the limit that counted its request; a 429 shows the limit that is used up. Limits on
an account show in a 429 alone, because their status is information about somebody else.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fastapi import Request, params

from api.request_context import address_of, request_context
from application.ports.limits import Hit, Limit, LimitStatus, network_hits
from application.services import Services
from domain.sessions import InvalidToken


@dataclass(frozen=True, slots=True)
class RequestLimit:
    """A dependency that counts each request once by `limit`; `hits` finds what to count it by.

    The route calls it after authentication and before the body is read. Raises `TooManyRequests`.
    """

    limit: Limit
    hits: Callable[[Limit, Request], Sequence[Hit]]

    async def __call__(self, request: Request) -> None:
        context = request_context(request)
        if not context.is_counted:
            services: Services = request.app.state.services
            context.is_counted = True
            hits = self.hits(self.limit, request)
            statuses = await services.limits.hit(*hits) if hits else ()
            context.limit_statuses = statuses[:1]  # of the network, not of its IPv6 site


def _by_network(limit: Limit, request: Request) -> Sequence[Hit]:
    return network_hits(limit, address_of(request))


def _by_user(limit: Limit, request: Request) -> Sequence[Hit]:
    user = request_context(request).user
    if user is None:
        raise InvalidToken
    return [Hit(limit, str(user.id), subject=f"user:{user.id}")]


def _by_session(limit: Limit, request: Request) -> Sequence[Hit]:
    session = request_context(request).session
    if session is None:  # the request has a personal token
        return _by_user(limit, request)
    return [Hit(limit, str(session.id), subject=f"session:{session.id}")]


def limited_by_network(limit: Limit) -> params.Depends:
    """A dependency for routes that count requests by the network of the client."""
    return params.Depends(RequestLimit(limit, _by_network))


def limited_by_session(limit: Limit) -> params.Depends:
    """A dependency for protected routes that count requests by session, and not as writes."""
    return params.Depends(RequestLimit(limit, _by_session))


UNLIMITED = params.Depends(RequestLimit(Limit.WRITES, lambda *_: ()))
"""A dependency for protected routes that change nothing, although they are no GET."""

by_writes = RequestLimit(Limit.WRITES, _by_user)
"""The limit of every protected route that changes something and has no other limit."""


def limit_headers(limit_statuses: Sequence[LimitStatus]) -> list[tuple[bytes, bytes]]:
    """`RateLimit-Policy` and `RateLimit`, lists of strings with parameters (RFC 9651)."""
    policy = ", ".join(f'"{s.limit}";q={s.quota};w={s.window}' for s in limit_statuses)
    state = ", ".join(f'"{s.limit}";r={s.remaining};t={s.resets_in}' for s in limit_statuses)
    return [(b"ratelimit-policy", policy.encode()), (b"ratelimit", state.encode())]
