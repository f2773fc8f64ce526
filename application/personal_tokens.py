"""Personal tokens: making, listing and deleting them, and resolving the user of one."""

import asyncio
import logging
import secrets
from datetime import datetime
from typing import NoReturn

from application.errors import raises
from application.ports.clock import Clock
from application.ports.personal_tokens import PersonalTokenQueries, PersonalTokens
from application.ports.queries import Queries
from application.ports.storage import Storage, UnitOfWork
from application.ports.tokens import PersonalClaims
from domain.errors import Unavailable
from domain.events import Event
from domain.factors import FactorPolicy, must_be_fresh
from domain.personal_tokens import (
    SECRETS,
    PersonalToken,
    PersonalTokenId,
    TokenContext,
    TokenDraft,
    TokenNotFound,
    make,
    token_of,
)
from domain.policies import AdminsOnly, is_admin
from domain.sessions import InvalidToken, Session
from domain.users import User, UserId, UserNotFound

USES_PAUSE = 1.0
"""Seconds between two writes of when tokens were used."""

Uses = dict[PersonalTokenId, datetime]
"""When tokens were used, as far as it is worth noting and not noted yet."""

log = logging.getLogger("gatepost.tokens")


class PersonalTokenService:
    """The methods with a parameter `admin` raise `AdminsOnly` if that user is not an admin."""

    def __init__(
        self,
        *,
        queries: Queries,
        storage: Storage,
        clock: Clock,
        factor_policy: FactorPolicy,
        uses: Uses,
    ) -> None:
        self._queries = queries
        self._storage = storage
        self._clock = clock
        self._factor_policy = factor_policy
        self._uses = uses

    @raises(must_be_fresh, make, InvalidToken)
    async def make(
        self, draft: TokenDraft, user: User, session: Session
    ) -> tuple[PersonalToken, str]:
        """Store a new token of the user. Returns it, and the text that authenticates with it.

        Raises `StaleLogin` unless `session` is fresh, `InvalidToken` if the user is deactivated
        concurrently, and the error of the first of `MAKING_RULES` that is broken.
        """
        now = self._clock()
        must_be_fresh(session, user, now, self._factor_policy)
        text = token_of(secrets.randbelow(SECRETS))

        async def work(uow: UnitOfWork) -> PersonalToken:
            # Locked, so that tokens made concurrently are counted, and so that a deactivation
            # comes before or after.
            found = await uow.users.get(user.id)
            if found is None or not found.user.is_active:
                raise InvalidToken
            owner, tokens = found.user, uow.of(PersonalTokens)
            owner.scopes = user.scopes
            context = TokenContext(
                actor=owner, draft=draft, now=now, tokens=await tokens.count(owner.id, now)
            )
            made = await tokens.add(make(context, text))
            uow.record(
                Event.of(
                    "token_made",
                    f"token:{made.id}",
                    actor_id=owner.id,
                    at=now,
                    scopes=" ".join(made.scopes),
                ),
                concerned=owner,
            )
            await uow.commit()
            return made

        return await self._storage.run(work), text

    @raises()
    async def of(self, user: User) -> list[PersonalToken]:
        """The user's live tokens, newest first."""
        return await self._queries.of(PersonalTokenQueries).tokens(user.id, self._clock())

    @raises(TokenNotFound)
    async def delete(self, token_id: PersonalTokenId, user: User) -> None:
        """Raises `TokenNotFound`, for another user's token too."""
        now = self._clock()

        async def work(uow: UnitOfWork) -> None:
            if not await delete_token(uow, token_id, user, now):
                raise TokenNotFound(token_id)
            await uow.commit()

        await self._storage.run(work)

    @raises(AdminsOnly, UserNotFound)
    async def of_user(self, user_id: UserId, admin: User) -> list[PersonalToken]:
        """The live tokens of a user, newest first. Raises `UserNotFound`."""
        return await self.of(await self._subject(user_id, admin))

    @raises(AdminsOnly, UserNotFound)
    async def delete_all(self, user_id: UserId, admin: User) -> None:
        """Delete all tokens of a user. Raises `UserNotFound`."""
        user = await self._subject(user_id, admin)
        now = self._clock()

        async def work(uow: UnitOfWork) -> None:
            number = await uow.of(PersonalTokens).delete_all(user_id)
            uow.record(
                Event.of(
                    "tokens_deleted", f"user:{user_id}", actor_id=admin.id, at=now, tokens=number
                ),
                concerned=user if number else None,
            )
            await uow.commit()

        await self._storage.run(work)

    async def _subject(self, user_id: UserId, admin: User) -> User:
        if not is_admin(admin):
            raise AdminsOnly
        user = await self._queries.user(user_id)
        if user is None:
            raise UserNotFound(user_id)
        return user

    async def note_uses(self) -> None:
        """Write `last_used_at` of the tokens that were used. A process that dies notes nothing."""
        while self._uses:
            token_id, at = self._uses.popitem()

            async def work(
                uow: UnitOfWork, token_id: PersonalTokenId = token_id, at: datetime = at
            ) -> None:
                await uow.of(PersonalTokens).note_use(token_id, at)
                await uow.commit()

            await self._storage.run(work)

    async def note_uses_forever(self) -> NoReturn:
        """Run `note_uses` regularly until cancelled, in each process that serves."""
        while True:
            await asyncio.sleep(USES_PAUSE)
            try:
                await self.note_uses()
            except Unavailable:
                pass  # the database's own log says so
            except Exception:
                log.exception("uses of personal tokens were not noted")


async def token_user(
    claims: PersonalClaims, queries: Queries, now: datetime
) -> tuple[PersonalToken, User]:
    """The token, and its user with the scopes that the token has now. Raises `InvalidToken`."""
    found = await queries.of(PersonalTokenQueries).token_user(claims.token_hash)
    if found is None:
        raise InvalidToken
    token, user = found
    if not token.is_valid_for(user, now):
        raise InvalidToken
    user.scopes = token.scopes_for(user)
    return token, user


async def delete_token(
    uow: UnitOfWork, token_id: PersonalTokenId, user: User, now: datetime
) -> bool:
    """Delete the token, record it and have the user told. Returns False, and does nothing, unless
    it is one of the user's.
    """
    if not await uow.of(PersonalTokens).delete(token_id, user.id):
        return False
    event = Event.of("token_deleted", f"token:{token_id}", actor_id=user.id, at=now)
    uow.record(event, concerned=user)
    return True
