"""Users whose tokens come from an outside provider: who they are here."""

from dataclasses import dataclass
from datetime import datetime

from application.ports.queries import Queries
from application.ports.storage import Storage
from application.retries import retried
from domain.errors import RuleBroken
from domain.events import Event
from domain.sessions import InvalidToken
from domain.users import BadName, EmailTaken, User, UserDraft, register


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalIdentity:
    """Somebody as a provider that we trust tells of them."""

    issuer: str
    subject: str
    """Who it is, for good and for this issuer alone."""
    verified_email: str | None
    name: str | None


class ExternalIdentityService:
    def __init__(self, *, queries: Queries, storage: Storage) -> None:
        self._queries = queries
        self._storage = storage

    async def user(self, visitor: ExternalIdentity, now: datetime) -> User:
        """The visitor's user, who is made when they are seen for the first time.

        Raises `InvalidToken` when there is none and none can be made: without a verified address,
        or with one that another account has. Whose that is, the provider can't know.
        """
        known = await self._known(visitor)
        if known:
            return known
        try:
            return await self._provision(visitor, now)
        except (RuleBroken, EmailTaken):
            # Of two requests at first sight, one comes second: then the user is there by now.
            known = await self._known(visitor)
            if known is None:
                raise InvalidToken from None
            return known

    async def _known(self, visitor: ExternalIdentity) -> User | None:
        return await self._queries.by_identity(visitor.issuer, visitor.subject)

    @retried
    async def _provision(self, visitor: ExternalIdentity, now: datetime) -> User:
        if visitor.verified_email is None:
            raise InvalidToken
        try:
            new = register(UserDraft(email=visitor.verified_email, name=visitor.name), now=now)
        except BadName:
            new = register(UserDraft(email=visitor.verified_email), now=now)
        async with self._storage() as uow:
            user = await uow.identities.add(new, issuer=visitor.issuer, subject=visitor.subject)
            uow.record(
                Event(
                    name="user_registered",
                    actor_id=None,
                    subject=f"user:{user.id}",
                    at=now,
                    details={"issuer": visitor.issuer},
                )
            )
            await uow.commit()
        return user
