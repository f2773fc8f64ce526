"""Hashing of passwords, as a port."""

from typing import NewType, Protocol

from application.ports.adapter import Adapter

PasswordHash = NewType("PasswordHash", str)
"""A salted hash with all that is needed to check against it, but no pepper."""


class Passwords(Adapter, Protocol):
    """Slow on purpose; runs aside, so that other requests go on.

    Every method raises `domain.errors.Unavailable` at once when more work waits than can be done.
    """

    async def hash(self, password: str) -> PasswordHash:
        """Raises `ValueError` for a text longer than `PASSWORD_INPUT_MAX`."""
        ...

    async def verify(self, password: str, known: PasswordHash | None) -> bool:
        """Whether `known` is the hash of `password`.

        False, at the cost of the same work, when `known` is None, and for a text longer than
        `PASSWORD_INPUT_MAX`, which is never looked at.
        """
        ...

    def is_outdated(self, known: PasswordHash) -> bool:
        """Whether `hash` would make it otherwise today: at another cost, with another pepper."""
        ...
