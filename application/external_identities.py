"""Users whose tokens come from an outside provider: just-in-time provisioning."""

from datetime import datetime
from functools import partial

from application.ports.queries import Queries
from application.ports.storage import Storage, UnitOfWork
from application.ports.tokens import ExternalClaims
from domain.errors import RuleBroken
from domain.events import Event
from domain.external_identities import ExternalIdentity
from domain.sessions import InvalidToken
from domain.users import BadName, EmailTaken, User, UserDraft, register


async def provision(
    claims: ExternalClaims, *, queries: Queries, storage: Storage, now: datetime
) -> User:
    """The user with the identity in a provider's token. An unknown identity is registered.

    Raises `InvalidToken` if the identity cannot be registered: it needs a verified address that no
    other account has, because that account may be another person's, and a token that was issued
    after the last deletion of an account with this identity.
    """
    identity = claims.identity
    user = await queries.by_identity(identity.issuer, identity.subject)
    if user:
        return user
    try:
        return await storage.run(partial(_register, identity, claims.issued_at, now))
    except (RuleBroken, EmailTaken):
        # A concurrent first request may have registered the user.
        user = await queries.by_identity(identity.issuer, identity.subject)
        if user is None:
            raise InvalidToken from None
        return user


async def _register(
    identity: ExternalIdentity, issued_at: datetime, now: datetime, uow: UnitOfWork
) -> User:
    if identity.verified_email is None:
        raise InvalidToken
    try:
        new = register(UserDraft(email=identity.verified_email, name=identity.name), now=now)
    except BadName:
        new = register(UserDraft(email=identity.verified_email), now=now)
    if await uow.codes.reserves(new.email, now):
        raise EmailTaken
    ended_at = await uow.identities.ended_at(identity.issuer, identity.subject)
    if ended_at and issued_at <= ended_at:
        raise InvalidToken
    user = await uow.identities.add(new, issuer=identity.issuer, subject=identity.subject)
    uow.record(
        Event.of(
            "user_registered", f"user:{user.id}", actor_id=None, at=now, issuer=identity.issuer
        )
    )
    await uow.commit()
    return user
