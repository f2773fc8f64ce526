"""Registrations that a mailed code completes, so that they do not tell who is registered."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import NewType

from domain.errors import NotAllowed

RegistrationId = NewType("RegistrationId", int)

REGISTRATION_LIFETIME = timedelta(days=1)
"""How long after the request a registration can be completed."""


class RegistrationMode(StrEnum):
    OPEN = "open"
    """The answer to a registration is the new user, or that the address is taken."""
    QUIET = "quiet"
    """The answer is the same for a free and a taken address. A mail says which it is."""
    CLOSED = "closed"
    """Nobody registers."""


class RegistrationClosed(NotAllowed):
    detail = "Nobody can register here"


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingRegistration:
    """The request to register an address, which nobody has confirmed yet. It is no account."""

    id: RegistrationId
    email: str
    name: str | None
    requested_at: datetime
    code_hash: str | None = field(repr=False)
    """`registration_hash` of the code that was mailed. None: no mail was written yet."""

    def is_over(self, now: datetime) -> bool:
        return now >= self.expires_at

    @property
    def expires_at(self) -> datetime:
        return self.requested_at + REGISTRATION_LIFETIME


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRegistration:
    email: str
    name: str | None
    requested_at: datetime

    def stored_as(self, id_: int) -> PendingRegistration:
        return PendingRegistration(
            id=RegistrationId(id_),
            email=self.email,
            name=self.name,
            requested_at=self.requested_at,
            code_hash=None,
        )


def registration_hash(token: str) -> str:
    """The stored form of a code. A code has 256 random bits, so a fast hash suffices."""
    return sha256(f"registration {token}".encode()).hexdigest()
