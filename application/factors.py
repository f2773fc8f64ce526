"""Second factors: the authenticator app and recovery codes of a user."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from application.challenges import Factor, FactorKind, factors_of, settle
from application.errors import raises
from application.ports.factors import FactorQueries, FactorRepository, FactorStatus
from application.ports.storage import UnitOfWork
from application.services import Ports
from domain.events import Event
from domain.factors import (
    RECOVERY_CODE_BYTES,
    RECOVERY_CODES,
    NoSecondFactor,
    Totp,
    TotpExists,
    WrongCode,
    must_be_fresh,
    recovery_code,
    recovery_code_hash,
    totp_code,
    totp_context,
)
from domain.policies import AdminsOnly, is_admin
from domain.sessions import InvalidToken, Method, Methods, Session
from domain.users import User, UserId, UserNotFound


@dataclass(frozen=True, slots=True, kw_only=True)
class TotpEnrolment:
    """What an authenticator app needs. It is shown once."""

    secret: str = field(repr=False)
    uri: str = field(repr=False)


class CodeFactor(Factor):
    """Codes of an authenticator app, and recovery codes."""

    kind = FactorKind.CODE
    refusal = WrongCode

    def __init__(self, ports: Ports) -> None:
        self._queries = ports.queries
        self._sealer = ports.sealer
        self._totp = ports.totp

    async def methods(self, user_id: UserId) -> Sequence[str]:
        status = await self._queries.of(FactorQueries).status(user_id)
        has_app = status.totp_confirmed_at is not None
        return ["totp"] * has_app + ["recovery_code"] * bool(status.recovery_codes_left)

    async def prove(
        self, uow: UnitOfWork, user: User, answer: object, now: datetime
    ) -> Methods | None:
        text = str(answer)
        code = totp_code(text)
        if code is not None:
            is_right = await self._use_totp(uow, user.id, code, now)
        else:
            is_right = await uow.of(FactorRepository).consume_recovery_code(
                user.id, recovery_code_hash(user.id, text)
            )
            if is_right:
                uow.record(_event("recovery_code_used", user, now))
        return (Method.ONE_TIME_PASSWORD,) if is_right else None

    async def is_enrolled(self, uow: UnitOfWork, user_id: UserId) -> bool:
        totp = await uow.of(FactorRepository).totp(user_id)
        return totp is not None and totp.confirmed_at is not None

    async def remove_all(self, uow: UnitOfWork, user_id: UserId) -> None:
        await uow.of(FactorRepository).remove_totp(user_id)
        await uow.of(FactorRepository).replace_recovery_codes(user_id, ())

    async def _use_totp(self, uow: UnitOfWork, user_id: UserId, code: str, now: datetime) -> bool:
        totp = await uow.of(FactorRepository).totp(user_id)
        if totp is None or totp.confirmed_at is None:
            return False
        step = self.step_of(totp, code, now)
        return step is not None and await uow.of(FactorRepository).claim_step(user_id, step)

    def step_of(self, totp: Totp, code: str, now: datetime) -> int | None:
        """The step of a code that was not used yet; None if it is wrong or used."""
        secret = self._sealer.open(totp.sealed_secret, totp_context(totp.user_id))
        step = None if secret is None else self._totp.step_of(secret, code, now)
        return step if step is not None and step > totp.last_step else None


FACTOR = CodeFactor


class FactorService:
    """What takes a session raises `StaleLogin` unless it is fresh, before anything else."""

    def __init__(self, ports: Ports) -> None:
        self._queries = ports.queries
        self._storage = ports.storage
        self._sealer = ports.sealer
        self._totp = ports.totp
        self._clock = ports.clock
        self._policy = ports.factor_policy
        self._codes = CodeFactor(ports)
        self._factors = factors_of(ports)

    @raises()
    async def status(self, user: User) -> FactorStatus:
        return await self._queries.of(FactorQueries).status(user.id)

    @raises(must_be_fresh, TotpExists, InvalidToken)
    async def start_totp(self, user: User, session: Session) -> TotpEnrolment:
        """Make a secret for an authenticator app. It is in force once `confirm_totp` had a code of
        it, and replaces one that was never confirmed. Raises `TotpExists`.
        """
        now = self._clock()
        must_be_fresh(session, user, now, self._policy)
        secret = self._totp.new_secret()
        totp = Totp(
            user_id=user.id,
            sealed_secret=self._sealer.seal(secret, totp_context(user.id)),
            created_at=now,
            confirmed_at=None,
            last_step=0,
        )

        async def work(uow: UnitOfWork) -> None:
            await _locked(uow, user)
            if await self._codes.is_enrolled(uow, user.id):
                raise TotpExists
            await uow.of(FactorRepository).put_totp(totp)
            await uow.commit()

        await self._storage.run(work)
        return TotpEnrolment(secret=secret, uri=self._totp.uri(secret, user.email))

    @raises(WrongCode, TotpExists, InvalidToken)
    async def confirm_totp(self, user: User, code: str) -> list[str]:
        """Put the authenticator app in force, and return new recovery codes.

        Raises `WrongCode`, also without a `start_totp` since the account has had a second factor,
        and `TotpExists`.
        """
        now = self._clock()
        codes = _new_codes()

        async def work(uow: UnitOfWork) -> None:
            owner = await _locked(uow, user)
            totp = await uow.of(FactorRepository).totp(user.id)
            if totp is None:
                raise WrongCode
            if totp.confirmed_at is not None:
                raise TotpExists
            if not totp.can_be_confirmed_for(owner):
                raise WrongCode
            digits = totp_code(code)
            step = None if digits is None else self._codes.step_of(totp, digits, now)
            if step is None:
                raise WrongCode
            totp.confirmed_at, totp.last_step = now, step
            await uow.of(FactorRepository).put_totp(totp)
            await self._put_codes(uow, owner, codes)
            if owner.second_factor_since is None:
                owner.second_factor_since = now
                await uow.users.save(owner)
            uow.record(_event("totp_added", user, now), concerned=owner)
            await uow.commit()

        await self._storage.run(work)
        return codes

    @raises(must_be_fresh, InvalidToken)
    async def remove_totp(self, user: User, session: Session) -> None:
        """Remove the authenticator app. The recovery codes go with the last factor."""
        now = self._clock()
        must_be_fresh(session, user, now, self._policy)

        async def work(uow: UnitOfWork) -> None:
            owner = await _locked(uow, user)
            was_enrolled = await self._codes.is_enrolled(uow, user.id)
            await uow.of(FactorRepository).remove_totp(user.id)
            if was_enrolled:
                await settle(uow, owner, self._factors)
                uow.record(_event("totp_removed", user, now), concerned=owner)
            await uow.commit()

        await self._storage.run(work)

    @raises(must_be_fresh, NoSecondFactor, InvalidToken)
    async def new_recovery_codes(self, user: User, session: Session) -> list[str]:
        """Replace the recovery codes. Raises `NoSecondFactor`."""
        now = self._clock()
        must_be_fresh(session, user, now, self._policy)
        codes = _new_codes()

        async def work(uow: UnitOfWork) -> None:
            owner = await _locked(uow, user)
            if not owner.second_factor:
                raise NoSecondFactor
            await self._put_codes(uow, owner, codes)
            uow.record(_event("recovery_codes_made", user, now), concerned=owner)
            await uow.commit()

        await self._storage.run(work)
        return codes

    @raises(must_be_fresh, AdminsOnly, UserNotFound)
    async def remove_all(self, admin: User, session: Session, user_id: UserId) -> None:
        """Remove all factors of a user, and revoke their sessions: for one who has lost them.

        Raises `AdminsOnly` and `UserNotFound`.
        """
        now = self._clock()
        must_be_fresh(session, admin, now, self._policy)
        if not is_admin(admin):
            raise AdminsOnly

        async def work(uow: UnitOfWork) -> None:
            if admin.id not in await uow.users.admins():
                raise AdminsOnly  # another admin has demoted them concurrently
            found = await uow.users.get(user_id)
            if found is None:
                raise UserNotFound(user_id)
            for factor in self._factors:
                await factor.remove_all(uow, user_id)
            await settle(uow, found.user, self._factors)
            await uow.sessions.revoke_all(user_id, now)
            event = Event.of("factors_removed", f"user:{user_id}", actor_id=admin.id, at=now)
            uow.record(event, concerned=found.user)
            await uow.commit()

        await self._storage.run(work)

    async def _put_codes(self, uow: UnitOfWork, user: User, codes: Sequence[str]) -> None:
        hashes = [recovery_code_hash(user.id, code) for code in codes]
        await uow.of(FactorRepository).replace_recovery_codes(user.id, hashes)


def _new_codes() -> list[str]:
    return [recovery_code(secrets.token_bytes(RECOVERY_CODE_BYTES)) for _ in range(RECOVERY_CODES)]


async def _locked(uow: UnitOfWork, user: User) -> User:
    """The user as stored now. Every use case locks the user before what is the user's."""
    found = await uow.users.get(user.id)
    if found is None:
        raise InvalidToken  # the account was closed concurrently
    return found.user


def _event(name: str, user: User, now: datetime) -> Event:
    return Event.of(name, f"user:{user.id}", actor_id=user.id, at=now)
