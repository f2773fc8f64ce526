"""Access tokens, as a port: what they are made of is the adapter's business."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from application.ports.adapter import Adapter
from application.ports.storage import UnitOfWork
from domain.external_identities import ExternalIdentity
from domain.sessions import SessionId
from domain.users import UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """The claims of our own tokens. Times are UTC, in whole seconds (RFC 7519, section 2)."""

    user_id: UserId
    session_id: SessionId
    issued_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalClaims:
    """The claims of an outside provider's token. It has no session here."""

    identity: ExternalIdentity
    issued_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalClaims:
    """A personal token in its right form. Whether there is such a token, and whose, is stored:
    `application.ports.personal_tokens.PersonalTokenQueries.token_user` has it.
    """

    token_hash: str = field(repr=False)


LEEWAY = timedelta(seconds=5)
"""How far ahead of our clock `issued_at` may be, because machines' clocks differ.

`expires_at` gets none, though RFC 7519, section 4.1.4, allows it: a client can renew its token.
"""


class Tokens(Adapter, Protocol):
    @property
    def has_local_login(self) -> bool:
        """Whether users log in here. False: an outside provider issues their tokens."""
        return True

    @property
    def authorization_servers(self) -> Sequence[str]:
        """The issuers of the tokens, if these are outside providers (RFC 9728, section 2)."""
        return ()

    @property
    def public_keys(self) -> Sequence[Mapping[str, str]]:
        """The keys that others verify our tokens with, as JWKs (RFC 7517)."""
        return ()

    async def issue(self, claims: Claims, uow: UnitOfWork) -> str:
        """A bearer token (RFC 6750, section 2.1: visible ASCII) that says `claims`.

        It is valid once `uow` is committed. A technology that stores its tokens does so in `uow`,
        so that a session never changes without its token.
        """
        ...

    async def verify(self, token: str, now: datetime) -> Claims | ExternalClaims | PersonalClaims:
        """The claims of `token`, if it is genuine and valid at `now`.

        Does not look at the user and the session. Raises `domain.sessions.InvalidToken` for every
        other string, and `domain.errors.Unavailable` when it can't tell at the moment.
        """
        ...
