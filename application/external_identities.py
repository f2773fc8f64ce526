"""Users whose tokens come from an outside provider: just-in-time provisioning."""

from datetime import datetime

from application.ports.queries import Queries
from application.ports.storage import Storage
from application.ports.tokens import ExternalClaims
from application.retries import retried
from domain.errors import RuleBroken
from domain.events import Event
from domain.external_identities import ExternalIdentity
from domain.sessions import InvalidToken
from domain.users import BadName, EmailTaken, User, UserDraft, register


async def provision(
    claims: ExternalClaims, *, queries: Queries, storage: Storage, now: datetime
) -> User:
    """The user that a provider's token names, registered now if there is none.

    A registration needs a verified address that no other account has: the provider can't know
    whose that account is. It also needs a token from after the last deletion of such an account.
    Raises `InvalidToken` otherwise.
    """
    identity = claims.identity
    user = await queries.by_identity(identity.issuer, identity.subject)
    if user:
        return user
    try:
        return await _register(identity, claims.issued_at, storage, now)
    except (RuleBroken, EmailTaken):
        # Of two first requests at once, the second finds the user that the first registered.
        user = await queries.by_identity(identity.issuer, identity.subject)
        if user is None:
            raise InvalidToken from None
        return user


@retried
async def _register(
    identity: ExternalIdentity, issued_at: datetime, storage: Storage, now: datetime
) -> User:
    if identity.verified_email is None:
        raise InvalidToken
    try:
        new = register(UserDraft(email=identity.verified_email, name=identity.name), now=now)
    except BadName:
        new = register(UserDraft(email=identity.verified_email), now=now)
    async with storage() as uow:
        if await uow.codes.reserves(new.email, now):
            raise EmailTaken
        ended_at = await uow.identities.ended_at(identity.issuer, identity.subject)
        if ended_at and issued_at <= ended_at:
            raise InvalidToken
        user = await uow.identities.add(new, issuer=identity.issuer, subject=identity.subject)
        uow.record(
            Event.of(
                "user_registered",
                f"user:{user.id}",
                actor_id=None,
                at=now,
                issuer=identity.issuer,
            )
        )
        await uow.commit()
    return user
