import secrets
from datetime import datetime

from application.ports.storage import Storage, UnitOfWork
from application.ports.tokens import Claims, ExternalClaims, PersonalClaims, Tokens
from domain.personal_tokens import is_well_formed, token_hash
from domain.sessions import InvalidToken
from tests.fakes.storage import FakeStorage


class FakeTokens(Tokens):
    """Tokens that are only names of claims. `issued` has the claims of each, to look at or remove.

    Set `trouble` to have `issue` raise it.
    """

    def __init__(self) -> None:
        self.issued: dict[str, Claims] = {}
        self.trouble: Exception | None = None

    async def issue(self, claims: Claims, uow: UnitOfWork) -> str:
        if self.trouble:
            raise self.trouble
        # The number is for people; the rest keeps one token from being a slip away from the next.
        token = f"token-{len(self.issued) + 1}-{secrets.token_hex(8)}"
        self.issued[token] = claims
        return token

    async def verify(self, token: str, now: datetime) -> Claims | ExternalClaims | PersonalClaims:
        if is_well_formed(token):
            return PersonalClaims(token_hash=token_hash(token))
        claims = self.issued.get(token)
        if claims is None or not claims.issued_at <= now < claims.expires_at:
            raise InvalidToken
        return claims


async def issued(tokens: Tokens, claims: Claims, storage: Storage | None = None) -> str:
    """A token that was issued in a unit of work of its own; `storage` is for those that store."""
    async with (storage or FakeStorage())() as uow:
        token = await tokens.issue(claims, uow)
        await uow.commit()
    return token
