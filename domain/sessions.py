"""Sessions: a login and what is left of it."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NewType

from domain.errors import NotFound, Unauthenticated
from domain.users import User, UserId

SessionId = NewType("SessionId", int)

SESSIONS_MAX = 100
"""Sessions of a user that go on. One login more ends the session used longest ago."""

KNOWN = timedelta(days=30)
"""How long a network stays known to an account, at the least, after a session that began in it was
last used. The session itself is kept for that, ended or not."""


class NotAuthenticated(Unauthenticated):
    detail = "Not authenticated"


class InvalidToken(Unauthenticated):
    """One and the same for every cause, so that nobody learns which one it was."""

    detail = "Could not validate credentials"


class InvalidCredentials(Unauthenticated):
    detail = "Incorrect username or password"


class SessionNotFound(NotFound):
    def __init__(self, session_id: int) -> None:
        super().__init__(f"Session with id: {session_id} was not found")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetimes:
    access: timedelta = timedelta(hours=1)
    """Of an access token."""
    refresh: timedelta = timedelta(days=30)
    """Of a session that nobody refreshes."""
    session: timedelta = timedelta(days=90)
    """Of a session, however often it is refreshed."""

    def session_end(self, *, started_at: datetime, now: datetime) -> datetime:
        """When a session ends that is started or refreshed now."""
        return min(now + self.refresh, started_at + self.session)


@dataclass(slots=True, kw_only=True, eq=False)
class Session:
    """A login that goes on until it expires or is revoked."""

    id: SessionId
    user_id: UserId
    created_at: datetime
    last_used_at: datetime
    """When it was refreshed last, or else started: so often it is stored, and no more often."""
    expires_at: datetime
    revoked_at: datetime | None
    user_agent: str | None
    ip: str | None

    def is_valid_for(self, user: User, *, issued_at: datetime, now: datetime) -> bool:
        """Whether a token of this session, issued at `issued_at`, speaks for `user` now."""
        return (
            self.user_id == user.id
            and self.revoked_at is None
            and now < self.expires_at
            and user.accepts_tokens_from(issued_at)
        )

    def refresh(self, user: User, *, lifetimes: Lifetimes, now: datetime) -> None:
        """Go on from now. Raises `InvalidToken` when the session is over for `user`."""
        # The token that asks for it was issued at the last refresh.
        if not self.is_valid_for(user, issued_at=self.last_used_at, now=now):
            raise InvalidToken
        self.last_used_at = now
        self.expires_at = lifetimes.session_end(started_at=self.created_at, now=now)


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
    """The network that limits group addresses by: an IPv4 address itself, or the /64 of IPv6.

    Every subscriber of IPv6 has at least a /64. Text that is no address is returned unchanged, and
    None, the client of a Unix socket, as an empty text.
    """
    address = _address(ip)
    if address is None:
        return ip or ""
    return _prefix(address, 64) if isinstance(address, IPv6Address) else str(address)


def site_of(ip: str | None) -> str | None:
    """The /48 of an IPv6 address, which is what a site is given at most (RFC 6177); else None."""
    address = _address(ip)
    return _prefix(address, 48) if isinstance(address, IPv6Address) else None


def _address(ip: str | None) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(ip or "")
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _prefix(address: IPv6Address, bits: int) -> str:
    rest = 128 - bits
    return f"{IPv6Address(int(address) >> rest << rest)}/{bits}"


def refresh_hash(token: str) -> str:
    """What is stored of a refresh token. It is 256 random bits, so one fast hash is enough."""
    return sha256(token.encode(errors="surrogatepass")).hexdigest()
