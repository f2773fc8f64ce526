"""Sessions: their lifetimes, their refresh, and the networks that they start in."""

import hmac
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NewType

from domain.errors import NotFound, Unauthenticated
from domain.users import User, UserId

SessionId = NewType("SessionId", int)

SESSIONS_MAX = 100
"""Live sessions of a user. A login beyond it revokes the session that was used longest ago."""

NETWORK_RETENTION = timedelta(days=30)
"""How long an account remembers the network of a session after the session was last used. The
session's row is kept for as long, even if the session has expired or was revoked."""


class Method(StrEnum):
    """How somebody was authenticated: values of RFC 8176, section 2."""

    PASSWORD = "pwd"  # noqa: S105  no password
    ONE_TIME_PASSWORD = "otp"  # noqa: S105  no password
    """A time-based code, or a recovery code."""
    HARDWARE_KEY = "hwk"
    """A passkey."""
    USER_PRESENCE = "user"
    """The person was there: a passkey asks for a gesture."""


Methods = tuple[Method, ...]

FACTOR_METHODS = frozenset({Method.ONE_TIME_PASSWORD, Method.HARDWARE_KEY})
"""Methods that prove a second factor or a passkey."""


SLIDE_PAUSE = timedelta(hours=1)
"""Time between two extensions of a browser's session, which slides with its use."""


class NotAuthenticated(Unauthenticated):
    detail = "Not authenticated"


class InvalidToken(Unauthenticated):
    """The same for every cause, so that the response does not reveal the cause."""

    detail = "Could not validate credentials"


class InvalidCredentials(Unauthenticated):
    detail = "Incorrect username or password"


class SessionNotFound(NotFound):
    def __init__(self, session_id: int) -> None:
        super().__init__(f"Session with id: {session_id} was not found")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetimes:
    access: timedelta = timedelta(hours=1)
    """Lifetime of an access token."""
    refresh: timedelta = timedelta(days=30)
    """Lifetime of a session after its last refresh."""
    session: timedelta = timedelta(days=90)
    """Maximum lifetime of a session, however often it is refreshed."""
    grace: timedelta = timedelta(seconds=10)
    """How long the refresh token rotated last is still answered, counted from its rotation."""

    def session_end(self, *, started_at: datetime, now: datetime) -> datetime:
        """The expiry of a session that is started or refreshed at `now`."""
        return min(now + self.refresh, started_at + self.session)


@dataclass(slots=True, kw_only=True, eq=False)
class Session:
    """A login. It is live until it expires or is revoked."""

    id: SessionId
    user_id: UserId
    created_at: datetime
    last_used_at: datetime
    """Time of the last refresh, or of the login. Ordinary requests do not update it."""
    expires_at: datetime
    revoked_at: datetime | None
    user_agent: str | None
    ip: str | None
    methods: Methods
    """All methods that its owner was authenticated by, at the login and since."""
    last_proof_at: datetime | None = None
    """Time of the last proof after the login; None: there was none. A refresh is no proof."""
    last_factor_proof_at: datetime | None = None
    """The same of proofs by one of the `FACTOR_METHODS`."""

    @property
    def proved_at(self) -> datetime:
        """Time of the last proof, or of the login."""
        return self.last_proof_at or self.created_at

    @property
    def factor_proved_at(self) -> datetime | None:
        """Time of the last proof or login by one of the `FACTOR_METHODS`; None: there was none."""
        if self.last_factor_proof_at is not None:
            return self.last_factor_proof_at
        return self.created_at if FACTOR_METHODS.intersection(self.methods) else None

    def is_valid_for(self, user: User, *, issued_at: datetime, now: datetime) -> bool:
        """Whether a token of this session, issued at `issued_at`, authenticates `user` at `now`."""
        return (
            self.user_id == user.id
            and self.revoked_at is None
            and now < self.expires_at
            and user.accepts_tokens_from(issued_at)
        )

    def prove(self, methods: Methods, now: datetime) -> None:
        """Record that the owner was authenticated by these methods."""
        self.methods += tuple(method for method in methods if method not in self.methods)
        self.last_proof_at = now
        if FACTOR_METHODS.intersection(methods):
            self.last_factor_proof_at = now

    def refresh(self, user: User, *, lifetimes: Lifetimes, now: datetime) -> None:
        """Extend the session. Raises `InvalidToken` if the session is not valid for `user`."""
        # The refresh token was issued at the last refresh.
        if not self.is_valid_for(user, issued_at=self.last_used_at, now=now):
            raise InvalidToken
        self.last_used_at = now
        self.expires_at = lifetimes.session_end(started_at=self.created_at, now=now)

    def slide(self, *, lifetimes: Lifetimes, now: datetime) -> bool:
        """Extend a valid session of a browser, which was used `now`. Returns whether it is longer:
        it changes once in `SLIDE_PAUSE`, or in a tenth of a shorter lifetime.
        """
        if now - self.last_used_at < min(SLIDE_PAUSE, lifetimes.refresh / 10):
            return False
        self.last_used_at = now
        self.expires_at = lifetimes.session_end(started_at=self.created_at, now=now)
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSession:
    """A session that is not stored yet."""

    user_id: UserId
    created_at: datetime
    expires_at: datetime
    refresh_hash: str = field(repr=False)
    """`refresh_hash` of the session's current refresh token, or `cookie_hash` of a browser's."""
    user_agent: str | None
    ip: str | None
    methods: Methods = (Method.PASSWORD,)
    second_factor_since: datetime | None = None
    """That of the user, as the login has read it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshChain:
    """What is stored about a presented refresh token and the session's other ones.

    Each refresh token of a session is the `successor` of the previous one.
    """

    current_hash: str = field(repr=False)
    """`refresh_hash` of the only token that can be rotated."""
    nonce: str | None = field(repr=False)
    """Derives the current token from the previous one. None before the first rotation."""
    rotated_at: datetime | None
    """When the presented token was rotated. None: it is the current one."""

    def replay(self, token: str, *, grace: timedelta, now: datetime) -> str | None:
        """The current token, if the presented `token` is the previous one and was rotated less than
        `grace` ago.

        None for any other rotated token: a thief may have it, and its session must be revoked.
        """
        if self.nonce is None or self.rotated_at is None or now - self.rotated_at >= grace:
            return None
        candidate = successor(token, self.nonce)
        is_current = hmac.compare_digest(refresh_hash(candidate), self.current_hash)
        return candidate if is_current else None


def successor(token: str, nonce: str) -> str:
    """The refresh token that replaces `token`: 256 bits that take both arguments to compute.

    HMAC-SHA-256 with the token as its key (RFC 2104), as base64url without padding.
    """
    digest = hmac.digest(_encoded(token), nonce.encode(), "sha256")
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


def network_of(ip: str | None) -> str:
    """The network that limits group addresses by: an IPv4 address itself, or the /64 of IPv6.

    An IPv6 subscriber has at least a /64. Text that is no address is returned unchanged. The result
    for None, the client of a Unix socket, is an empty string.
    """
    address = _address(ip)
    if address is None:
        return ip or ""
    return _prefix(address, 64) if isinstance(address, IPv6Address) else str(address)


def site_of(ip: str | None) -> str | None:
    """The /48 of an IPv6 address, the largest prefix of one site (RFC 6177); otherwise None."""
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
    """The stored form of a refresh token. A token has 256 random bits, so a fast hash suffices."""
    return sha256(_encoded(token)).hexdigest()


def cookie_hash(value: str) -> str:
    """The stored form of a browser's cookie. It is the hash of no refresh token, so that neither is
    taken for the other.
    """
    return f"cookie:{refresh_hash(value)}"


def _encoded(token: str) -> bytes:
    return token.encode(errors="surrogatepass")
