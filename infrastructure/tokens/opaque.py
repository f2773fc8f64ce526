"""Opaque access tokens: random, stored hashed with their session and expiry.

They tell nobody anything. One query finds the token, its session and its user together, so that a
request costs the database no more than one with a signed token does; issuing one costs a write.
"""

import hmac
import secrets
from datetime import datetime
from hashlib import sha256

from application.ports.tokens import LEEWAY, Claims, Tokens
from application.retries import retried
from domain.sessions import InvalidToken
from infrastructure.database.access_tokens import access_token_lookup, add, found_of
from infrastructure.database.driver.statements import ConstraintViolated, Database

_LENGTH = 43  # characters of 256 bits


class OpaqueTokens(Tokens):
    """The token port on the database that has the sessions."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._find = access_token_lookup(database)

    @retried
    async def issue(self, claims: Claims) -> str:
        """Raises `InvalidToken` when the session is gone already."""
        token = secrets.token_urlsafe(32)
        id_, hash_ = _stored(token)
        try:
            await add(
                self._database,
                now=claims.issued_at,
                id=id_,
                hash=hash_,
                session_id=claims.session_id,
                issued_at=claims.issued_at,
                expires_at=claims.expires_at,
            )
        except ConstraintViolated:
            raise InvalidToken from None
        return token

    async def verify(self, token: str, now: datetime) -> Claims:
        if len(token) != _LENGTH or not token.isascii():
            raise InvalidToken
        id_, hash_ = _stored(token)
        record = await self._find(id_)
        if record is None:
            raise InvalidToken
        known, issued_at, expires_at, session, user = found_of(record)
        if not hmac.compare_digest(known, hash_) or not issued_at - LEEWAY <= now < expires_at:
            raise InvalidToken
        return Claims(
            user_id=user.id,
            session_id=session.id,
            issued_at=issued_at,
            expires_at=expires_at,
            found=(session, user),
        )


def _stored(token: str) -> tuple[int, str]:
    """What is stored of a token. It is 256 random bits, so one fast hash is enough."""
    digest = sha256(token.encode())
    return int.from_bytes(digest.digest()[:8]) >> 1, digest.hexdigest()
