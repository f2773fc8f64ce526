import secrets
from datetime import datetime

from application.ports.tokens import Claims, Tokens
from domain.sessions import InvalidToken


class FakeTokens(Tokens):
    """Tokens that are only names of claims, which stand in `issued`: look, or take one away."""

    def __init__(self) -> None:
        self.issued: dict[str, Claims] = {}

    async def issue(self, claims: Claims) -> str:
        # The number is for people; the rest keeps one token from being a slip away from the next.
        token = f"token-{len(self.issued) + 1}-{secrets.token_hex(8)}"
        self.issued[token] = claims
        return token

    async def verify(self, token: str, now: datetime) -> Claims:
        claims = self.issued.get(token)
        if claims is None or not claims.issued_at <= now < claims.expires_at:
            raise InvalidToken
        return claims
