"""Limits on requests, and how answers tell of limits (draft-ietf-httpapi-ratelimit-headers-11).

An answer tells of the limit that its request was counted by, a 429 of the one that is used up.
Limits on an account are told by a 429 alone: how they stand is news about somebody else.
"""

from collections.abc import Sequence

from fastapi import Request

from api.exchange import exchange_of
from application.ports.limits import Limit, Standing, Use
from application.services import Services
from domain.sessions import network_of
from domain.users import User


async def limit_network(request: Request, limit: Limit) -> None:
    """Count the request for where it comes from. Raises `TooManyRequests`."""
    await _count(request, Use(limit, network_of(request.client.host if request.client else None)))


async def limit_writes(request: Request, user: User) -> None:
    """Count the request for its user. Raises `TooManyRequests`."""
    await _count(request, Use(Limit.WRITES, str(user.id)))


async def _count(request: Request, use: Use) -> None:
    services: Services = request.app.state.services
    exchange_of(request).standings = await services.limits.take(use)


def limit_headers(standings: Sequence[Standing]) -> list[tuple[bytes, bytes]]:
    """Both fields are lists of structured strings with parameters (RFC 9651)."""
    policy = ", ".join(f'"{s.limit}";q={s.quota};w={s.window}' for s in standings)
    state = ", ".join(f'"{s.limit}";r={s.remaining};t={s.resets_in}' for s in standings)
    return [(b"ratelimit-policy", policy.encode()), (b"ratelimit", state.encode())]
