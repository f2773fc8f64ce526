"""Authenticator apps and recovery codes, as ports. Secrets are sealed or hashed by the caller."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from domain.factors import Totp
from domain.users import UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorStatus:
    totp_confirmed_at: datetime | None
    """When the authenticator app came into force; None if there is none."""
    recovery_codes_left: int


class FactorQueries(Protocol):
    async def status(self, user_id: UserId) -> FactorStatus: ...


class FactorRepository(Protocol):
    """Lock the user before calling it, as all use cases do."""

    async def totp(self, user_id: UserId) -> Totp | None:
        """The user's authenticator app, confirmed or not."""
        ...

    async def put_totp(self, totp: Totp) -> None:
        """Store it in place of the one that the user has, if there is one."""
        ...

    async def claim_step(self, user_id: UserId, step: int) -> bool:
        """Record that a code of this step was used. Returns False, and changes nothing, unless the
        step is later than the last one. Of concurrent calls for a step one succeeds.
        """
        ...

    async def remove_totp(self, user_id: UserId) -> None: ...

    async def replace_recovery_codes(self, user_id: UserId, hashes: Collection[str]) -> None:
        """Delete the user's recovery codes, and store these."""
        ...

    async def consume_recovery_code(self, user_id: UserId, code_hash: str) -> bool:
        """Delete this code of the user. Returns False if there is none. Of concurrent calls for a
        code one succeeds.
        """
        ...
