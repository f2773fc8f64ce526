"""Proofs of who somebody is after the password: the second step of a login, and fresh sessions."""

from collections.abc import Sequence

from application.challenges import Factor, FactorKind, factors_of
from application.errors import raises
from application.login_failures import LoginFailures
from application.logins import ClientInfo, Login, Logins
from application.passwords import PasswordCheck
from application.ports.challenges import ChallengeRepository
from application.ports.limits import Limits
from application.ports.storage import UnitOfWork
from application.security_events import SecurityEvents
from application.services import Ports
from domain.challenges import LoginChallenge, WrongSecondStep, challenge_hash
from domain.errors import DomainError
from domain.events import Event
from domain.factors import WrongCode
from domain.passkeys import BadPasskey
from domain.passwords import WrongPassword
from domain.sessions import InvalidCredentials, InvalidToken, Method, Methods, Session, network_of
from domain.users import User


class ProofService:
    """A wrong proof counts as a failed login. All raise `TooManyRequests` before any work."""

    def __init__(self, ports: Ports) -> None:
        self._queries = ports.queries
        self._storage = ports.storage
        self._clock = ports.clock
        self._factors = {factor.kind: factor for factor in factors_of(ports)}
        events = SecurityEvents(limits=ports.limits, storage=ports.storage, clock=ports.clock)
        self._failures = LoginFailures(queries=ports.queries, limits=ports.limits, events=events)
        self._passwords = PasswordCheck(
            passwords=ports.passwords,
            queries=ports.queries,
            failures=self._failures,
            policy=ports.password_policy,
        )
        self._logins = Logins(tokens=ports.tokens, clock=ports.clock, lifetimes=ports.lifetimes)

    async def methods(self, user: User) -> Sequence[str]:
        """The names of the ways in which the user can prove a second factor; empty if none."""
        return [name for each in self._factors.values() for name in await each.methods(user.id)]

    @raises(WrongSecondStep, InvalidCredentials, Limits.hit)
    async def second_step(
        self, token: str, kind: FactorKind, answer: object, client: ClientInfo
    ) -> Login:
        """Start the session of a login whose password was right before.

        Each call is one of the tries of the challenge. Raises `WrongSecondStep`, the same for every
        cause.
        """
        challenge = await self._hit(token)
        user = await self._queries.user(challenge.user_id) if challenge else None
        factor = self._factors.get(kind)
        if challenge is None or user is None or factor is None:
            raise WrongSecondStep
        async with self._failures.attempt(user.email, user.id, client.ip) as attempt:
            login = await self._finish(challenge, factor, answer, client)
            attempt.has_failed = login is None
        if login is None:
            raise WrongSecondStep
        return login

    async def _hit(self, token: str) -> LoginChallenge | None:
        async def work(uow: UnitOfWork) -> LoginChallenge | None:
            challenge = await uow.of(ChallengeRepository).hit(challenge_hash(token), self._clock())
            await uow.commit()
            return challenge

        return await self._storage.run(work)

    async def _finish(
        self, challenge: LoginChallenge, factor: Factor, answer: object, client: ClientInfo
    ) -> Login | None:
        is_new_network = await self._queries.is_new_network(
            challenge.user_id, network_of(client.ip)
        )
        now = self._clock()

        async def work(uow: UnitOfWork) -> Login | None:
            # Locks the user: of logins that race with one code or one challenge the first wins.
            found = await uow.users.get(challenge.user_id)
            if found is None or not challenge.is_valid_for(found.user, found.password, now):
                return None
            proved = await factor.prove(uow, found.user, answer, now)
            login = None
            if proved and await uow.of(ChallengeRepository).consume(challenge.token_hash):
                methods = (Method.PASSWORD, *proved)
                login = await self._logins.start(
                    uow, found, methods, client, is_new_network=is_new_network
                )
            await uow.commit()
            return login

        return await self._storage.run(work)

    @raises(PasswordCheck.credentials, WrongPassword, InvalidToken)
    async def prove_password(
        self, user: User, session: Session, password: str, *, ip: str | None
    ) -> None:
        """Record that the user of the session knows the password. Raises `WrongPassword`."""
        credentials = await self._passwords.credentials(user.email, password, ip, is_logged_in=True)
        if credentials is None or credentials.user.id != user.id:
            raise WrongPassword

        async def work(uow: UnitOfWork) -> None:
            found = await uow.users.get(user.id)
            if found is None or found.password != credentials.password:
                raise WrongPassword
            await self._record(uow, user, session, (Method.PASSWORD,))
            await uow.commit()

        await self._storage.run(work)

    @raises(WrongCode, BadPasskey, Limits.hit, InvalidToken)
    async def prove_factor(
        self, user: User, session: Session, kind: FactorKind, answer: object, *, ip: str | None
    ) -> None:
        """Record that the user of the session has the second factor, which makes it fresh.

        Raises the refusal of the factor: `WrongCode` or `BadPasskey`.
        """
        factor = self._factors.get(kind)
        if factor is None:
            raise WrongCode

        async def work(uow: UnitOfWork) -> type[DomainError] | None:
            found = await uow.users.get(user.id)
            if found is None:
                raise InvalidToken  # the account was closed concurrently
            proved = await factor.prove(uow, found.user, answer, self._clock())
            if proved:
                await self._record(uow, user, session, proved)
            await uow.commit()
            return None if proved else factor.refusal

        async with self._failures.attempt(user.email, user.id, ip) as attempt:
            refusal = await self._storage.run(work)
            attempt.has_failed = refusal is not None
        if refusal is not None:
            raise refusal

    async def _record(
        self, uow: UnitOfWork, user: User, session: Session, methods: Methods
    ) -> None:
        now = self._clock()
        session.prove(methods, now)
        if not await uow.sessions.save_proof(session):
            raise InvalidToken
        uow.record(Event.of("session_proved", f"session:{session.id}", actor_id=user.id, at=now))
