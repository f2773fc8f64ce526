"""Sessions from login to logout, and the resolution of the current user."""

from dataclasses import replace
from datetime import datetime

from application.challenges import Challenge, LoginChallenges
from application.errors import raises
from application.external_identities import provision
from application.logins import ClientInfo, Login, Logins, new_secret
from application.outages import ProviderSilent
from application.passwords import PasswordCheck
from application.personal_tokens import Uses, token_user
from application.ports.clock import Clock
from application.ports.queries import Credentials, Queries, RefreshLookup
from application.ports.storage import Storage, UnitOfWork
from application.ports.tokens import Claims, ExternalClaims, PersonalClaims
from domain.events import Event
from domain.sessions import (
    InvalidCredentials,
    InvalidToken,
    Method,
    Session,
    SessionId,
    SessionNotFound,
    network_of,
    refresh_hash,
    successor,
)
from domain.users import User


class AuthService:
    def __init__(
        self,
        *,
        queries: Queries,
        storage: Storage,
        logins: Logins,
        challenges: LoginChallenges,
        passwords: PasswordCheck,
        clock: Clock,
    ) -> None:
        self._queries = queries
        self._storage = storage
        self._logins = logins
        self._challenges = challenges
        self._passwords = passwords
        self._clock = clock
        self.uses: Uses = {}
        """Uses of personal tokens, for `PersonalTokenService.note_uses`."""

    @raises(InvalidToken, ProviderSilent)
    async def authenticate(self, token: str) -> tuple[User, Session | None]:
        """The user that the bearer of `token` is, and its session, as stored at this moment.

        A personal token has no session, and the user has its scopes. Neither has a token of an
        outside provider; at the first one, its user is registered. Raises `InvalidToken`, the same
        for every cause: a bad token, a session that is over, a user who is gone or deactivated.
        """
        now = self._clock()
        claims = await self._logins.technology.verify(token, now)
        if not isinstance(claims, Claims):
            return await self._user_without_session(claims, now), None
        found = await self._queries.session_user(claims.session_id)
        if found is None:
            raise InvalidToken
        session, user = found
        if user.id != claims.user_id or not session.is_valid_for(
            user, issued_at=claims.issued_at, now=now
        ):
            raise InvalidToken
        return user, session

    async def _user_without_session(
        self, claims: ExternalClaims | PersonalClaims, now: datetime
    ) -> User:
        if isinstance(claims, PersonalClaims):
            token, user = await token_user(claims, self._queries, now)
            if token.is_use_worth_noting(now):
                self.uses[token.id] = now
            return user
        user = await provision(claims, queries=self._queries, storage=self._storage, now=now)
        if not user.accepts_tokens_from(claims.issued_at):
            raise InvalidToken
        return user

    @raises(InvalidCredentials, PasswordCheck.credentials)
    async def login(self, email: str, password: str, client: ClientInfo) -> Login | Challenge:
        """Start a session, or on an account with a second factor return a challenge for it.

        Raises `InvalidCredentials`, one error at one cost for an unknown address, a wrong password
        and a deactivated user. Raises `TooManyRequests`.
        """
        credentials = await self._confirmed(email, password, client)
        try:
            return await self._start(credentials, password, client)
        except InvalidCredentials:
            # The hash was replaced meanwhile, perhaps by another login that upgraded it.
            credentials = await self._confirmed(email, password, client)
            return await self._start(credentials, password, client)

    async def _confirmed(self, email: str, password: str, client: ClientInfo) -> Credentials:
        credentials = await self._passwords.credentials(email, password, client.ip)
        if credentials is None:
            raise InvalidCredentials
        return credentials

    async def _start(
        self, credentials: Credentials, password: str, client: ClientInfo
    ) -> Login | Challenge:
        password_hash = await self._passwords.up_to_date(credentials.password, password, client.ip)
        is_new_network = await self._queries.is_new_network(
            credentials.user.id, network_of(client.ip)
        )

        methods = await self._challenges.methods(credentials.user)

        async def work(uow: UnitOfWork) -> Login | Challenge:
            if password_hash != credentials.password:
                await uow.users.change_password(
                    credentials.user.id,
                    current_hash=credentials.password,
                    new_hash=password_hash,
                )
            current = replace(credentials, password=password_hash)
            result: Login | Challenge
            if methods is None:
                result = await self._logins.start(
                    uow, current, (Method.PASSWORD,), client, is_new_network=is_new_network
                )
            else:
                result = await self._challenges.add(uow, current, methods, self._clock())
            await uow.commit()
            return result

        return await self._storage.run(work)

    @raises(InvalidToken)
    async def refresh(self, refresh_token: str) -> Login:
        """Continue a session, and rotate its refresh token.

        The token rotated last is answered with the same successor until `Lifetimes.grace` after its
        rotation, so that lost responses and concurrent refreshes end no session. Any other reuse of
        a rotated token revokes the session. Raises `InvalidToken`, the same for every cause.
        """
        used_hash, nonce = refresh_hash(refresh_token), new_secret()
        now = self._clock()

        async def work(uow: UnitOfWork) -> Login | None:
            """None: a concurrent refresh rotated the token, or the session was revoked."""
            found = await self._queries.refresh_lookup(used_hash)
            if found is None:
                raise InvalidToken
            if found.is_rotated:
                return await self._replay(uow, found, refresh_token, now)
            session, new_token = found.session, successor(refresh_token, nonce)
            session.refresh(found.user, lifetimes=self._logins.lifetimes, now=now)
            if not await uow.sessions.rotate(
                session, used_hash=used_hash, new_hash=refresh_hash(new_token), nonce=nonce
            ):
                return None
            login = await self._logins.tokens(uow, found.user, session, new_token, now)
            await uow.commit()
            return login

        for _ in range(2):  # whoever lost a race finds the token rotated in the second round
            if login := await self._storage.run(work):
                return login
        raise InvalidToken

    async def _replay(
        self, uow: UnitOfWork, found: RefreshLookup, refresh_token: str, now: datetime
    ) -> Login:
        """The answer to a token that is rotated already. Stores nothing but an access token.

        Raises `InvalidToken` after revoking the session, unless the grace covers this use.
        """
        session, user = found.session, found.user
        current = found.chain.replay(refresh_token, grace=self._logins.lifetimes.grace, now=now)
        if current is None:
            if await uow.sessions.revoke(session.id, session.user_id, now):
                # Nobody knows whether the owner or the thief came second.
                subject = f"session:{session.id}"
                event = Event.of("refresh_token_reused", subject, actor_id=None, at=now)
                uow.record(event, concerned=user)
            await uow.commit()
            raise InvalidToken
        if not session.is_valid_for(user, issued_at=session.last_used_at, now=now):
            raise InvalidToken
        login = await self._logins.tokens(uow, user, session, current, now)
        await uow.commit()
        return login

    @raises()
    async def logout(self, session: Session) -> None:
        """Revoke this session."""
        now = self._clock()

        async def work(uow: UnitOfWork) -> None:
            if await uow.sessions.revoke(session.id, session.user_id, now):
                uow.record(
                    Event.of(
                        "logged_out", f"session:{session.id}", actor_id=session.user_id, at=now
                    )
                )
            await uow.commit()

        await self._storage.run(work)

    @raises()
    async def sessions(self, user: User) -> list[Session]:
        """The user's sessions that are alive, the one used last first."""
        return await self._queries.sessions(user.id, self._clock())

    @raises(SessionNotFound)
    async def revoke_session(self, session_id: SessionId, user: User) -> None:
        """Raises `SessionNotFound`, for another user's session too."""
        now = self._clock()

        async def work(uow: UnitOfWork) -> None:
            if not await uow.sessions.revoke(session_id, user.id, now):
                raise SessionNotFound(session_id)
            subject = f"session:{session_id}"
            uow.record(Event.of("session_ended", subject, actor_id=user.id, at=now))
            await uow.commit()

        await self._storage.run(work)

    @raises()
    async def revoke_sessions(self, user: User) -> None:
        """Revoke all sessions of the user."""
        now = self._clock()

        async def work(uow: UnitOfWork) -> None:
            revoked = await uow.sessions.revoke_all(user.id, now)
            uow.record(
                Event.of(
                    "sessions_ended", f"user:{user.id}", actor_id=user.id, at=now, sessions=revoked
                )
            )
            await uow.commit()

        await self._storage.run(work)
