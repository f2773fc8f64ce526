"""Passkeys: enrolment, login, and what their owners do with them."""

import secrets
from collections.abc import Sequence
from datetime import datetime

from application.challenges import Factor, FactorKind, factors_of, settle
from application.errors import raises
from application.login_failures import LoginFailures
from application.logins import ClientInfo, Login, Logins
from application.ports.limits import Limits
from application.ports.passkeys import (
    Options,
    PasskeyChallenges,
    PasskeyQueries,
    PasskeyRepository,
    Passkeys,
)
from application.ports.queries import Credentials
from application.ports.storage import UnitOfWork
from application.security_events import SecurityEvents
from application.services import Ports
from domain.errors import DomainError
from domain.events import Event
from domain.factors import must_be_fresh
from domain.passkeys import (
    Assertion,
    Attestation,
    BadPasskey,
    Passkey,
    PasskeyChallenge,
    PasskeyId,
    PasskeyKnown,
    PasskeyNotFound,
    TooManyPasskeys,
    challenge_hash,
    enrol,
    new_challenge,
    new_enrolment,
    room_is_left,
    sound_name,
)
from domain.sessions import InvalidCredentials, InvalidToken, Method, Methods, Session, network_of
from domain.users import User, UserId

METHODS = (Method.HARDWARE_KEY, Method.USER_PRESENCE)
_BYTES = 32
"""Of challenges and user handles."""


class PasskeyCheck:
    """Verifies what a passkey has signed: for a login, a second step and a proof."""

    def __init__(self, passkeys: Passkeys) -> None:
        self._passkeys = passkeys

    async def use(
        self, uow: UnitOfWork, assertion: Assertion, owner: UserId | None, now: datetime
    ) -> Credentials:
        """Use up the challenge that `assertion` answers, and record the use of the passkey.

        Returns its owner, locked. Raises `BadPasskey`, also if the passkey is not one of `owner`,
        who is None if nobody has it. The caller commits after that too: a failed try uses up the
        challenge.
        """
        challenge = await self._passkeys.challenge_of(assertion)
        # Every use case locks the user before it changes what is the user's.
        credentials = await uow.users.get(owner) if owner else None
        sent = await uow.of(PasskeyChallenges).consume(challenge_hash(challenge))
        if sent is None or not sent.is_for_login(now):
            raise BadPasskey
        if credentials is None or not credentials.user.is_active:
            raise BadPasskey
        passkeys = await uow.of(PasskeyRepository).of_user(credentials.user.id)
        for passkey in passkeys:
            if passkey.credential_id == assertion.credential_id:
                state = await self._passkeys.verify_assertion(
                    assertion, challenge, passkey.public_key
                )
                passkey.use(assertion.user_handle, state, now)
                await uow.of(PasskeyRepository).save(passkey)
                return credentials
        raise BadPasskey


class PasskeyFactor(Factor):
    """Passkeys as a second factor. Without a relying party they prove nothing."""

    kind = FactorKind.CREDENTIAL
    refusal = BadPasskey

    def __init__(self, ports: Ports) -> None:
        self._queries = ports.queries
        self._check = PasskeyCheck(ports.passkeys) if ports.passkeys else None

    async def methods(self, user_id: UserId) -> Sequence[str]:
        passkeys = self._check and await self._queries.of(PasskeyQueries).of_user(user_id)
        return ["passkey"] if passkeys else []

    async def prove(
        self, uow: UnitOfWork, user: User, answer: object, now: datetime
    ) -> Methods | None:
        if self._check is None or not isinstance(answer, Assertion):
            return None
        try:
            await self._check.use(uow, answer, user.id, now)
        except BadPasskey:
            return None
        return METHODS

    async def is_enrolled(self, uow: UnitOfWork, user_id: UserId) -> bool:
        return bool(await uow.of(PasskeyRepository).of_user(user_id))

    async def remove_all(self, uow: UnitOfWork, user_id: UserId) -> None:
        await uow.of(PasskeyRepository).remove_all(user_id)


FACTOR = PasskeyFactor


class PasskeyService:
    """What needs a session raises `StaleLogin` unless it is fresh, before anything else."""

    def __init__(self, ports: Ports) -> None:
        if ports.passkeys is None:
            raise ValueError("there is no relying party")
        self._passkeys = ports.passkeys
        self._check = PasskeyCheck(ports.passkeys)
        self._queries = ports.queries
        self._storage = ports.storage
        self._clock = ports.clock
        self._policy = ports.factor_policy
        self._factors = factors_of(ports)
        events = SecurityEvents(limits=ports.limits, storage=ports.storage, clock=ports.clock)
        self._failures = LoginFailures(queries=ports.queries, limits=ports.limits, events=events)
        self._logins = Logins(tokens=ports.tokens, clock=ports.clock, lifetimes=ports.lifetimes)

    @raises()
    async def passkeys(self, user: User) -> list[Passkey]:
        """The user's passkeys, the oldest first."""
        return await self._queries.of(PasskeyQueries).of_user(user.id)

    @raises()
    async def login_options(self) -> Options:
        """Options for a login by any passkey of anybody."""
        challenge = secrets.token_bytes(_BYTES)
        await self._send(new_challenge(challenge, self._clock()))
        return self._passkeys.request_options(challenge)

    @raises(InvalidCredentials, Limits.hit)
    async def login(self, assertion: Assertion, client: ClientInfo) -> Login:
        """Start a session by a passkey alone.

        Raises `InvalidCredentials`, the same for every cause, and `TooManyRequests`.
        """
        owner = await self._queries.of(PasskeyQueries).owner(assertion.credential_id)
        owner_id = owner.id if owner else None
        # A credential that nobody has is limited as an account of its own.
        account = owner.email if owner else assertion.credential_id.hex()
        is_new_network = owner is not None and await self._queries.is_new_network(
            owner.id, network_of(client.ip)
        )

        async def work(uow: UnitOfWork) -> Login | None:
            try:
                credentials = await self._check.use(uow, assertion, owner_id, self._clock())
            except BadPasskey:
                await uow.commit()  # the challenge is used up
                return None
            login = await self._logins.start(
                uow, credentials, METHODS, client, is_new_network=is_new_network
            )
            await uow.commit()
            return login

        async with self._failures.attempt(account, owner_id, client.ip) as attempt:
            login = await self._storage.run(work)
            attempt.has_failed = login is None
        if login is None:
            raise InvalidCredentials
        return login

    @raises(must_be_fresh, room_is_left)
    async def enrolment_options(self, user: User, session: Session) -> Options:
        """Options for a new passkey of the user. Raises `TooManyPasskeys`."""
        now = self._clock()
        must_be_fresh(session, user, now, self._policy)
        passkeys = await self.passkeys(user)
        room_is_left(passkeys)
        challenge = secrets.token_bytes(_BYTES)
        # All passkeys of a user have one handle, so that authenticators show one account.
        handle = passkeys[0].user_handle if passkeys else secrets.token_bytes(_BYTES)
        await self._send(new_enrolment(challenge, user.id, handle, now))
        known = [passkey.credential_id for passkey in passkeys]
        return self._passkeys.creation_options(challenge, user, handle, known)

    @raises(must_be_fresh, enrol, BadPasskey, PasskeyKnown, InvalidToken)
    async def enrol(
        self, user: User, session: Session, name: str, attestation: Attestation
    ) -> Passkey:
        """Store a new passkey of the user.

        Raises `BadPasskeyName`, and after it has used up the challenge `BadPasskey`,
        `PasskeyKnown` and `TooManyPasskeys`.
        """
        now = self._clock()
        must_be_fresh(session, user, now, self._policy)
        name = sound_name(name)
        challenge = await self._passkeys.challenge_of(attestation)
        is_known = await self._queries.of(PasskeyQueries).owner(attestation.credential_id)

        async def add(uow: UnitOfWork) -> Passkey:
            owner = await _locked(uow, user)
            must_be_fresh(session, owner, now, self._policy)  # another factor may be new
            sent = await uow.of(PasskeyChallenges).consume(challenge_hash(challenge))
            if sent is None:
                raise BadPasskey
            credential = await self._passkeys.verify_attestation(attestation, challenge)
            if is_known:
                raise PasskeyKnown
            repository = uow.of(PasskeyRepository)
            new = enrol(
                credential,
                challenge=sent,
                user_id=owner.id,
                name=name,
                passkeys=await repository.of_user(owner.id),
                now=now,
            )
            if owner.second_factor_since is None:
                owner.second_factor_since = now
                await uow.users.save(owner)
            return await repository.add(new)

        async def work(uow: UnitOfWork) -> Passkey | DomainError:
            try:
                passkey = await add(uow)
            except (BadPasskey, PasskeyKnown, TooManyPasskeys) as refusal:
                await uow.commit()  # the challenge is used up
                return refusal
            uow.record(_event("passkey_added", passkey, now), concerned=user)
            await uow.commit()
            return passkey

        result = await self._storage.run(work)
        if isinstance(result, DomainError):
            raise result
        return result

    @raises(Passkey.rename, PasskeyNotFound, InvalidToken)
    async def rename(self, user: User, passkey_id: PasskeyId, name: str) -> Passkey:
        """Raises `PasskeyNotFound`, for another user's passkey too, and `BadPasskeyName`."""

        now = self._clock()

        async def work(uow: UnitOfWork) -> Passkey:
            owner = await _locked(uow, user)
            passkey = _one_of(await uow.of(PasskeyRepository).of_user(user.id), passkey_id)
            passkey.rename(name)
            await uow.of(PasskeyRepository).save(passkey)
            uow.record(_event("passkey_renamed", passkey, now), concerned=owner)
            await uow.commit()
            return passkey

        return await self._storage.run(work)

    @raises(must_be_fresh, PasskeyNotFound, InvalidToken)
    async def remove(self, user: User, session: Session, passkey_id: PasskeyId) -> None:
        """Raises `PasskeyNotFound`, for another user's passkey too."""
        now = self._clock()
        must_be_fresh(session, user, now, self._policy)

        async def work(uow: UnitOfWork) -> None:
            owner = await _locked(uow, user)
            must_be_fresh(session, owner, now, self._policy)  # another factor may be new
            passkeys = await uow.of(PasskeyRepository).of_user(user.id)
            passkey = _one_of(passkeys, passkey_id)
            await uow.of(PasskeyRepository).remove(passkey)
            await settle(uow, owner, self._factors)
            uow.record(_event("passkey_removed", passkey, now), concerned=owner)
            await uow.commit()

        await self._storage.run(work)

    async def _send(self, challenge: PasskeyChallenge) -> None:
        async def work(uow: UnitOfWork) -> None:
            await uow.of(PasskeyChallenges).add(challenge)
            await uow.commit()

        await self._storage.run(work)


@raises()
async def passkeys_of(ports: Ports, user: User) -> list[Passkey]:
    """The user's passkeys, the oldest first. They stay stored without a relying party."""
    return await ports.queries.of(PasskeyQueries).of_user(user.id)


async def _locked(uow: UnitOfWork, user: User) -> User:
    """The user as stored now. Every use case locks the user before what is the user's."""
    found = await uow.users.get(user.id)
    if found is None:
        raise InvalidToken  # the account was closed concurrently
    return found.user


def _one_of(passkeys: Sequence[Passkey], passkey_id: PasskeyId) -> Passkey:
    for passkey in passkeys:
        if passkey.id == passkey_id:
            return passkey
    raise PasskeyNotFound(passkey_id)


def _event(name: str, passkey: Passkey, now: datetime) -> Event:
    return Event.of(name, f"passkey:{passkey.id}", actor_id=passkey.user_id, at=now)
