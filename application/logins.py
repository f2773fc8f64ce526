"""Starts sessions, for whoever has been authenticated, and issues the tokens of a session."""

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from application.ports.clock import Clock
from application.ports.queries import Credentials
from application.ports.storage import UnitOfWork
from application.ports.tokens import Claims, Tokens
from domain.events import LOGGED_IN, Event
from domain.sessions import Lifetimes, Methods, NewSession, Session, cookie_hash, refresh_hash
from domain.users import User


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientInfo:
    """The client of a login. The list of sessions shows it, so that owners recognise theirs."""

    user_agent: str | None = None
    ip: str | None = None
    is_browser: bool = False
    """Whether the session is a browser's: it gets a cookie and no tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A session with its access token and its refresh token, or with a browser's cookie.

    What it does not have is empty.
    """

    user: User
    session: Session
    access_token: str = field(default="", repr=False)
    access_life: timedelta = timedelta()
    refresh_token: str = field(default="", repr=False)
    refresh_life: timedelta
    """How long the session lasts without another use."""
    cookie: str = field(default="", repr=False)


class Logins:
    def __init__(self, *, tokens: Tokens, clock: Clock, lifetimes: Lifetimes) -> None:
        self.technology = tokens
        self.lifetimes = lifetimes
        self._clock = clock

    async def start(
        self,
        uow: UnitOfWork,
        credentials: Credentials,
        methods: Methods,
        client: ClientInfo,
        *,
        is_new_network: bool,
    ) -> Login:
        """Start a session of the user, who has been authenticated by `methods`. The caller commits.

        `is_new_network` is the answer of `Queries.is_new_network`; the user then gets a notice.
        Raises `InvalidCredentials` if the user is not active, or if password or second factor are
        no longer as in `credentials`.
        """
        now, secret = self._clock(), new_secret()
        session = await uow.sessions.add(
            NewSession(
                user_id=credentials.user.id,
                created_at=now,
                expires_at=self.lifetimes.session_end(started_at=now, now=now),
                refresh_hash=(cookie_hash if client.is_browser else refresh_hash)(secret),
                user_agent=client.user_agent,
                ip=client.ip,
                methods=methods,
                second_factor_since=credentials.user.second_factor_since,
            ),
            credentials.password,
        )
        login = (
            _browser_login(credentials.user, session, secret)
            if client.is_browser
            else await self.tokens(uow, credentials.user, session, secret, now)
        )
        subject = f"session:{session.id}"
        uow.record(Event.of(LOGGED_IN, subject, actor_id=session.user_id, at=now))
        if is_new_network:
            event = Event.of("new_network_seen", subject, actor_id=session.user_id, at=now)
            uow.record(event, concerned=credentials.user)
        return login

    async def tokens(
        self, uow: UnitOfWork, user: User, session: Session, refresh_token: str, now: datetime
    ) -> Login:
        """Tokens for the session. The access token is issued in `uow`, so a failure undoes both."""
        issued_at = now.replace(microsecond=0)
        access_life = min(self.lifetimes.access, session.expires_at - now)
        access_token = await self.technology.issue(
            Claims(
                user_id=user.id,
                session_id=session.id,
                issued_at=issued_at,
                expires_at=(issued_at + access_life).replace(microsecond=0),
            ),
            uow,
        )
        return Login(
            user=user,
            session=session,
            access_token=access_token,
            access_life=access_life,
            refresh_token=refresh_token,
            refresh_life=session.expires_at - now,
        )


def _browser_login(user: User, session: Session, cookie: str) -> Login:
    life = session.expires_at - session.last_used_at
    return Login(user=user, session=session, refresh_life=life, cookie=cookie)


def new_secret() -> str:
    return secrets.token_urlsafe(32)
