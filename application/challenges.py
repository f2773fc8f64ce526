"""Second factors of all kinds, and the challenge that follows a right password."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Protocol

from application.concepts import modules
from application.ports.challenges import ChallengeRepository
from application.ports.factors import FactorRepository
from application.ports.queries import Credentials
from application.ports.storage import UnitOfWork
from domain.challenges import new_challenge
from domain.errors import DomainError
from domain.sessions import Methods
from domain.users import User, UserId


class FactorKind(StrEnum):
    """What a client answers with: a member of the body of a second step or a proof."""

    CODE = "code"
    CREDENTIAL = "credential"


class Factor(Protocol):
    """A way to prove a second factor. A concept's module names its class `FACTOR`; it is made from
    the `Ports`.
    """

    kind: ClassVar[FactorKind]
    refusal: ClassVar[type[DomainError]]
    """What a wrong proof raises."""

    async def methods(self, user_id: UserId) -> Sequence[str]:
        """The names of the ways that the user has now; empty if none."""
        ...

    async def prove(
        self, uow: UnitOfWork, user: User, answer: object, now: datetime
    ) -> Methods | None:
        """What `answer` proves, which is then used up; None if it proves nothing. The user is
        locked. The caller commits in both cases.
        """
        ...

    async def is_enrolled(self, uow: UnitOfWork, user_id: UserId) -> bool:
        """Whether the user can log in with it. The user is locked."""
        ...

    async def remove_all(self, uow: UnitOfWork, user_id: UserId) -> None:
        """Remove it from the user, who is locked."""
        ...


def factors_of(ports: object) -> tuple[Factor, ...]:
    """The factors of all concepts."""
    found = (getattr(module, "FACTOR", None) for module in modules("application"))
    return tuple(factor(ports) for factor in found if factor is not None)


async def settle(uow: UnitOfWork, user: User, factors: Sequence[Factor]) -> None:
    """To be called after a factor of the locked user was removed: if none is left, a password alone
    logs in again, and the recovery codes go.
    """
    for factor in factors:
        if await factor.is_enrolled(uow, user.id):
            return
    user.second_factor_since = None
    await uow.users.save(user)
    await uow.of(FactorRepository).replace_recovery_codes(user.id, ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """The answer to a right password on an account with a second factor."""

    token: str = field(repr=False)
    methods: Sequence[str]


class LoginChallenges:
    """`factors`: none where strong login is off, and then a password alone logs in."""

    def __init__(self, factors: Sequence[Factor]) -> None:
        self._factors = factors

    async def methods(self, user: User) -> Sequence[str] | None:
        """The ways to prove a second factor of `user`; None if a password is enough."""
        if not (self._factors and user.second_factor):
            return None
        return [name for factor in self._factors for name in await factor.methods(user.id)]

    async def add(
        self, uow: UnitOfWork, credentials: Credentials, methods: Sequence[str], now: datetime
    ) -> Challenge:
        """Store a challenge for the user. The caller commits."""
        token = secrets.token_urlsafe(32)
        stored = new_challenge(credentials.user, token, credentials.password, now)
        await uow.of(ChallengeRepository).add(stored)
        return Challenge(token=token, methods=methods)
