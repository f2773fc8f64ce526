"""Access tokens, as a port: what they are made of is the adapter's business."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from application.ports.adapter import Adapter
from domain.sessions import Session, SessionId
from domain.users import User, UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What a token says. Moments are UTC and whole seconds (RFC 7519, section 2, NumericDate)."""

    user_id: UserId
    session_id: SessionId
    issued_at: datetime
    expires_at: datetime
    found: tuple[Session, User] | None = field(default=None, compare=False, repr=False)
    """The session and its user as stored at this moment, from adapters that had to look anyway."""


LEEWAY = timedelta(seconds=5)
"""How far ahead of our clock a token may have been issued.

Machines' clocks differ: with none, the next machine would refuse a token for a moment after login.
With more, a token dated ahead could outlive a revocation of all that came before. `exp` has none,
though RFC 7519 would allow it (section 4.1.4): a token ends on time, and a client can renew it.
"""


class Tokens(Adapter, Protocol):
    @property
    def has_local_login(self) -> bool:
        """Whether users log in here. False: an outside provider issues their tokens."""
        return True

    @property
    def public_keys(self) -> Sequence[Mapping[str, str]]:
        """The keys that others verify our tokens with, as JWKs (RFC 7517)."""
        return ()

    async def issue(self, claims: Claims) -> str:
        """A bearer token (RFC 6750, section 2.1: visible ASCII) that says `claims`."""
        ...

    async def verify(self, token: str, now: datetime) -> Claims:
        """What `token` says, if this adapter issued it and it is not expired at `now`.

        Raises `domain.sessions.InvalidToken` for every string that is not such a token, and
        `domain.errors.Unavailable` when that can't be told at the moment.
        Whether the user and the session still stand is not looked at here.
        """
        ...
