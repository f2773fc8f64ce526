"""Personal tokens: random, with a prefix that tells them from all others, stored hashed.

docs/decisions/0043-scopes-and-personal-tokens.md has the reasons.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from application.ports.adapter import Reading
from application.ports.storage import UnitOfWork
from application.ports.tokens import Claims, ExternalClaims, PersonalClaims, Tokens
from domain.personal_tokens import PREFIX, is_well_formed, token_hash


class WithPersonalTokens(Tokens):
    """Personal tokens beside those of sessions, which `others` issues and verifies.

    Prefix and checksum decide, here and nowhere else. A token with the prefix and a wrong checksum
    costs no query: it is too long for an opaque token, and no JWT.
    """

    def __init__(self, others: Tokens) -> None:
        self.others = others

    @property
    def has_local_login(self) -> bool:
        return self.others.has_local_login

    @property
    def authorization_servers(self) -> Sequence[str]:
        return self.others.authorization_servers

    @property
    def public_keys(self) -> Sequence[Mapping[str, str]]:
        return self.others.public_keys

    async def issue(self, claims: Claims, uow: UnitOfWork) -> str:
        return await self.others.issue(claims, uow)

    async def verify(self, token: str, now: datetime) -> Claims | ExternalClaims | PersonalClaims:
        if token.startswith(PREFIX) and is_well_formed(token):
            return PersonalClaims(token_hash=token_hash(token))
        # A wrong checksum too: one opaque token in 262,144 happens to begin as ours do.
        return await self.others.verify(token, now)

    async def check(self) -> str | None:
        return await self.others.check()

    async def close(self) -> None:
        await self.others.close()

    def readings(self) -> Sequence[Reading]:
        return self.others.readings()
