"""Logging in, and who is asking: the resolution of the current user."""

import secrets
from dataclasses import dataclass, field
from datetime import timedelta

from application.passwords import PasswordCheck
from application.ports.clock import Clock
from application.ports.queries import Queries
from application.ports.storage import Storage
from application.ports.tokens import Claims, Tokens
from domain.events import Event
from domain.sessions import InvalidCredentials, InvalidToken, NewSession, Session, refresh_hash
from domain.users import User


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetimes:
    access: timedelta = timedelta(hours=1)
    refresh: timedelta = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """Where a login comes from, for its owner to recognise it by."""

    user_agent: str | None = None
    ip: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A new session, the token that speaks for it and the one that continues it."""

    user: User
    session: Session
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    lifetimes: Lifetimes


class AuthService:
    def __init__(
        self,
        *,
        queries: Queries,
        storage: Storage,
        tokens: Tokens,
        passwords: PasswordCheck,
        clock: Clock,
        lifetimes: Lifetimes,
    ) -> None:
        self._queries = queries
        self._storage = storage
        self._tokens = tokens
        self._passwords = passwords
        self._clock = clock
        self._lifetimes = lifetimes

    async def authenticate(self, token: str) -> User:
        """The user that the bearer of `token` is, as stored at this moment.

        Raises `InvalidToken`, the same for every cause: a bad token, a session that is over, a
        user who is gone or deactivated.
        """
        now = self._clock()
        claims = await self._tokens.verify(token, now)
        found = await self._queries.session_user(claims.session_id)
        if found is None:
            raise InvalidToken
        session, user = found
        if user.id != claims.user_id or not session.admits(
            user, issued_at=claims.issued_at, now=now
        ):
            raise InvalidToken
        return user

    async def login(self, email: str, password: str, device: Device) -> Login:
        """Start a session. Raises `InvalidCredentials`, the same in content and in time for an
        unknown address, a wrong password and a deactivated user. Raises `TooManyRequests`.
        """
        known = await self._passwords.credentials(email, password, device.ip)
        if known is None:
            raise InvalidCredentials
        now = self._clock()
        refresh_token = secrets.token_urlsafe(32)
        async with self._storage() as uow:
            session = await uow.sessions.add(
                NewSession(
                    user_id=known.user.id,
                    created_at=now,
                    expires_at=now + self._lifetimes.refresh,
                    refresh_hash=refresh_hash(refresh_token),
                    user_agent=device.user_agent,
                    ip=device.ip,
                ),
                known.password,
            )
            uow.record(
                Event(
                    name="logged_in",
                    actor_id=known.user.id,
                    subject=f"session:{session.id}",
                    at=now,
                )
            )
            await uow.commit()
        issued_at = now.replace(microsecond=0)
        access_token = await self._tokens.issue(
            Claims(
                user_id=known.user.id,
                session_id=session.id,
                issued_at=issued_at,
                expires_at=issued_at + self._lifetimes.access,
            )
        )
        return Login(
            user=known.user,
            session=session,
            access_token=access_token,
            refresh_token=refresh_token,
            lifetimes=self._lifetimes,
        )
