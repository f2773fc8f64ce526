"""Limits on requests, and how answers tell of limits (draft-ietf-httpapi-ratelimit-headers-11).

An answer tells of the limit that its request was counted by, a 429 of the one that is used up.
Limits on an account are told by a 429 alone: how they stand is news about somebody else.
"""

from collections.abc import Sequence

from fastapi import Request

from api.request_context import address_of, request_context
from application.ports.limits import Hit, Limit, LimitStatus
from application.services import Services
from domain.sessions import network_of
from domain.users import User


async def limit_network(request: Request, limit: Limit) -> None:
    """Count the request for where it comes from. Raises `TooManyRequests`."""
    await _count(request, Hit(limit, network_of(address_of(request))))


async def limit_writes(request: Request, user: User) -> None:
    """Count the request for its user. Raises `TooManyRequests`."""
    await _count(request, Hit(Limit.WRITES, str(user.id)))


async def _count(request: Request, use: Hit) -> None:
    services: Services = request.app.state.services
    request_context(request).limit_statuses = await services.limits.hit(use)


def limit_headers(limit_statuses: Sequence[LimitStatus]) -> list[tuple[bytes, bytes]]:
    """Both fields are lists of structured strings with parameters (RFC 9651)."""
    policy = ", ".join(f'"{s.limit}";q={s.quota};w={s.window}' for s in limit_statuses)
    state = ", ".join(f'"{s.limit}";r={s.remaining};t={s.resets_in}' for s in limit_statuses)
    return [(b"ratelimit-policy", policy.encode()), (b"ratelimit", state.encode())]
