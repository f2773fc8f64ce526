"""Sessions: a login and what is left of it."""

from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from ipaddress import IPv6Address, ip_address
from typing import NewType

from domain.errors import Unauthenticated
from domain.users import User, UserId

SessionId = NewType("SessionId", int)


class NotAuthenticated(Unauthenticated):
    detail = "Not authenticated"


class InvalidToken(Unauthenticated):
    """One and the same for every cause, so that nobody learns which one it was."""

    detail = "Could not validate credentials"


class InvalidCredentials(Unauthenticated):
    detail = "Incorrect username or password"


@dataclass(slots=True, kw_only=True, eq=False)
class Session:
    """A login that goes on until it expires or is revoked."""

    id: SessionId
    user_id: UserId
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    user_agent: str | None
    ip: str | None

    def admits(self, user: User, *, issued_at: datetime, now: datetime) -> bool:
        """Whether a token of this session, issued at `issued_at`, speaks for `user` now."""
        return (
            self.user_id == user.id
            and self.revoked_at is None
            and now < self.expires_at
            and user.is_active
            # Tokens carry whole seconds (RFC 7519, section 2, NumericDate).
            and issued_at >= user.tokens_valid_from.replace(microsecond=0)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSession:
    """A login about to be stored."""

    user_id: UserId
    created_at: datetime
    expires_at: datetime
    refresh_hash: str = field(repr=False)
    """`refresh_hash` of the one refresh token that continues it."""
    user_agent: str | None
    ip: str | None


def network_of(ip: str | None) -> str:
    """What counts as one place of all that an address can be.

    Of IPv6, a subscriber has a /64 at the least, so that is one place. What is no address (of a
    Unix socket there is none) stays as it is.
    """
    try:
        address = ip_address(ip or "")
    except ValueError:
        return ip or ""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            return f"{IPv6Address(int(address) >> 64 << 64)}/64"
        address = address.ipv4_mapped
    return str(address)


def refresh_hash(token: str) -> str:
    """What is stored of a refresh token. It is 256 random bits, so one fast hash is enough."""
    return sha256(token.encode()).hexdigest()
