"""Access tokens, as a port: what they are made of is the adapter's business."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from domain.sessions import SessionId
from domain.users import UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What a token says. Moments are UTC and whole seconds (RFC 7519, section 2, NumericDate)."""

    user_id: UserId
    session_id: SessionId
    issued_at: datetime
    expires_at: datetime


class Tokens(Protocol):
    async def issue(self, claims: Claims) -> str:
        """A bearer token (RFC 6750, section 2.1: visible ASCII) that says `claims`."""
        ...

    async def verify(self, token: str, now: datetime) -> Claims:
        """What `token` says, if this adapter issued it and it is not expired at `now`.

        Raises `domain.sessions.InvalidToken` for every string that is not such a token.
        Whether the user and the session still stand is not looked at here.
        """
        ...
