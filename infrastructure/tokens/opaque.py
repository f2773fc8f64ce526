"""Opaque access tokens: random, stored hashed with their session and expiry.

Nobody but the service can read anything in them. A request costs one more lookup by key than one
with a signed token, and issuing costs a row.
"""

import secrets
from datetime import datetime
from hashlib import sha256

from application.ports.storage import UnitOfWork
from application.ports.tokens import LEEWAY, Claims, Tokens
from domain.sessions import InvalidToken
from infrastructure.database.access_tokens import access_token, access_token_lookup
from infrastructure.database.driver.statements import Database

_LENGTH = 43  # characters of 256 bits in base64url


class OpaqueTokens(Tokens):
    """The token port on the database that has the sessions."""

    def __init__(self, database: Database) -> None:
        self._find = access_token_lookup(database)

    async def issue(self, claims: Claims, uow: UnitOfWork) -> str:
        token = secrets.token_urlsafe(32)
        await uow.access_tokens.add(
            _hash(token),
            session_id=claims.session_id,
            issued_at=claims.issued_at,
            expires_at=claims.expires_at,
        )
        return token

    async def verify(self, token: str, now: datetime) -> Claims:
        if len(token) != _LENGTH or not token.isascii():
            raise InvalidToken
        claims = await access_token(self._find, _hash(token))
        if claims is None or not claims.issued_at - LEEWAY <= now < claims.expires_at:
            raise InvalidToken
        return claims


def _hash(token: str) -> str:
    """The stored form of a token. A token has 256 random bits, so a fast hash suffices."""
    return sha256(token.encode()).hexdigest()
