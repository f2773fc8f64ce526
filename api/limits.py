"""Limits on requests, and how answers tell of limits (draft-ietf-httpapi-ratelimit-headers-11).

An answer tells of the limit that its request was counted by, a 429 of the one that is used up.
Limits on an account are told by a 429 alone: how they stand is news about somebody else.
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
    """A dependency that counts a request by `limit`, once, as the `hits` that it makes of it.

    A route evaluates it after authentication and before its body is read. Raises
    `TooManyRequests`.
    """

    limit: Limit
    hits: Callable[[Limit, Request], Sequence[Hit]]

    async def __call__(self, request: Request) -> None:
        context = request_context(request)
        if not context.is_counted:
            services: Services = request.app.state.services
            context.is_counted = True
            statuses = await services.limits.hit(*self.hits(self.limit, request))
            context.limit_statuses = statuses[:1]  # that of its own network, not of the site


def _by_network(limit: Limit, request: Request) -> Sequence[Hit]:
    return network_hits(limit, address_of(request))


def _by_user(limit: Limit, request: Request) -> Sequence[Hit]:
    user = request_context(request).user
    if user is None:
        raise InvalidToken
    return [Hit(limit, str(user.id), subject=f"user:{user.id}")]


def _by_session(limit: Limit, request: Request) -> Sequence[Hit]:
    session = request_context(request).session
    if session is None:
        raise InvalidToken
    return [Hit(limit, str(session.id), subject=f"session:{session.id}")]


def limited_by_network(limit: Limit) -> params.Depends:
    """For a route's `dependencies`: its requests are counted by the network they come from."""
    return params.Depends(RequestLimit(limit, _by_network))


def limited_by_session(limit: Limit) -> params.Depends:
    """For the `dependencies` of a protected route that is not counted as a write."""
    return params.Depends(RequestLimit(limit, _by_session))


by_writes = RequestLimit(Limit.WRITES, _by_user)
"""The limit of every protected route that changes something and names no other."""


def limit_headers(limit_statuses: Sequence[LimitStatus]) -> list[tuple[bytes, bytes]]:
    """Both fields are lists of structured strings with parameters (RFC 9651)."""
    policy = ", ".join(f'"{s.limit}";q={s.quota};w={s.window}' for s in limit_statuses)
    state = ", ".join(f'"{s.limit}";r={s.remaining};t={s.resets_in}' for s in limit_statuses)
    return [(b"ratelimit-policy", policy.encode()), (b"ratelimit", state.encode())]
