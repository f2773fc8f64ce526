"""Introspection and revocation of tokens of every kind (RFC 7662, RFC 7009)."""

from dataclasses import dataclass
from datetime import datetime

from application.errors import raises
from application.personal_tokens import delete_token, token_user
from application.ports.storage import UnitOfWork
from application.ports.tokens import Claims, PersonalClaims
from application.services import Ports
from domain.events import Event
from domain.personal_tokens import PersonalToken
from domain.policies import AdminsOnly, grantable, is_admin
from domain.scopes import TOKEN_SCOPES, Scope
from domain.sessions import InvalidToken, Session, refresh_hash
from domain.users import User


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenStatus:
    """What an active token is, at this moment."""

    user: User
    scopes: tuple[Scope, ...]
    issued_at: datetime
    expires_at: datetime
    is_refresh_token: bool = False


class TokenService:
    """Tokens as whoever presents them sees them: access, refresh and personal ones."""

    def __init__(self, ports: Ports) -> None:
        self._tokens = ports.tokens
        self._queries = ports.queries
        self._storage = ports.storage
        self._clock = ports.clock

    @raises(AdminsOnly)
    async def introspect(self, token: str, admin: User) -> TokenStatus | None:
        """What the token is now; None for a token that authenticates nobody.

        Changes nothing: a rotated refresh token is not active, and its session goes on. Raises
        `AdminsOnly`.
        """
        if not is_admin(admin):
            raise AdminsOnly
        now = self._clock()
        try:
            claims = await self._tokens.verify(token, now)
            if isinstance(claims, PersonalClaims):
                personal, user = await token_user(claims, self._queries, now)
                return _status(user, personal.created_at, personal.expires_at)
            if isinstance(claims, Claims):
                return await self._access_token(claims, now)
        except InvalidToken:
            return await self._refresh_token(token, now)
        return None

    async def _access_token(self, claims: Claims, now: datetime) -> TokenStatus | None:
        found = await self._queries.session_user(claims.session_id)
        if found is None:
            return None
        session, user = found
        if user.id != claims.user_id or not session.is_valid_for(
            user, issued_at=claims.issued_at, now=now
        ):
            return None
        return _status(user, claims.issued_at, claims.expires_at)

    async def _refresh_token(self, token: str, now: datetime) -> TokenStatus | None:
        found = await self._queries.refresh_lookup(refresh_hash(token))
        if found is None or found.is_rotated:
            return None
        session, user = found.session, found.user
        if not session.is_valid_for(user, issued_at=session.last_used_at, now=now):
            return None
        return _status(user, session.last_used_at, session.expires_at, is_refresh_token=True)

    @raises()
    async def revoke(self, token: str) -> None:
        """Delete a personal token; revoke the session of an access or refresh token, also of a
        rotated one. Whoever has the token may do so. Does nothing for any other text.
        """
        now = self._clock()
        try:
            claims = await self._tokens.verify(token, now)
            if isinstance(claims, PersonalClaims):
                personal, user = await token_user(claims, self._queries, now)
                await self._delete(personal, user, now)
                return
            found = (
                await self._queries.session_user(claims.session_id)
                if isinstance(claims, Claims)
                else None
            )
            session = found[0] if found else None
        except InvalidToken:
            lookup = await self._queries.refresh_lookup(refresh_hash(token))
            session = lookup.session if lookup else None
        if session is not None:
            await self._revoke(session, now)

    async def _delete(self, token: PersonalToken, user: User, now: datetime) -> None:
        async def work(uow: UnitOfWork) -> None:
            if await delete_token(uow, token.id, user, now):
                await uow.commit()

        await self._storage.run(work)

    async def _revoke(self, session: Session, now: datetime) -> None:
        async def work(uow: UnitOfWork) -> None:
            if await uow.sessions.revoke(session.id, session.user_id, now):
                subject = f"session:{session.id}"
                uow.record(Event.of("session_ended", subject, actor_id=session.user_id, at=now))
                await uow.commit()

        await self._storage.run(work)


def _status(
    user: User, issued_at: datetime, expires_at: datetime, *, is_refresh_token: bool = False
) -> TokenStatus:
    """The scopes are those of the token and the user's role together: an audience that asks has no
    other way to know the role.
    """
    allowed = grantable(user) & user.scopes
    return TokenStatus(
        user=user,
        scopes=tuple(scope for scope in TOKEN_SCOPES if scope in allowed),
        issued_at=issued_at,
        expires_at=expires_at,
        is_refresh_token=is_refresh_token,
    )
