"""Pending registrations, as a port."""

from typing import Protocol

from application.ports.passwords import PasswordHash
from domain.registrations import NewRegistration, PendingRegistration, RegistrationId


class Registrations(Protocol):
    async def add(self, new: NewRegistration, password: PasswordHash) -> PendingRegistration: ...

    async def get(self, registration_id: RegistrationId) -> PendingRegistration | None:
        """The registration, locked for other units of work until this one ends."""
        ...

    async def set_code(self, registration_id: RegistrationId, code_hash: str) -> None:
        """Store the hash of a new code, which replaces a previous one."""
        ...

    async def consume(self, code_hash: str) -> tuple[PendingRegistration, PasswordHash] | None:
        """Delete the registration with this code, expired or not. Returns None if there is none.
        Of several concurrent calls one gets it.
        """
        ...

    async def remove(self, registration_id: RegistrationId) -> None:
        """Does nothing if it is gone."""
        ...
