"""Hashing of passwords, as a port."""

from dataclasses import dataclass
from typing import NewType, Protocol

from application.ports.adapter import Adapter

PasswordHash = NewType("PasswordHash", str)
"""A salted hash with the parameters that verifying needs, but without the pepper."""


@dataclass(frozen=True, slots=True)
class Requester:
    """The requester of a hash, which decides the places in the queue that it may take."""

    network: str = ""
    """`network_of` the client's address; empty on the command line."""
    is_known: bool = False
    """Whether the account has been logged in to from this network, or the user has proved who they
    are: by a token of a session or by a mailed code.
    """


SOMEBODY = Requester()


class Passwords(Adapter, Protocol):
    """Slow on purpose. The work runs in threads of its own, while other requests go on.

    `hash` and `verify` raise `domain.errors.Unavailable` at once when the places of the requester
    in the queue are taken. One network never fills the queue, and neither do all requesters who
    are not known together.
    """

    async def hash(self, password: str, requester: Requester = SOMEBODY) -> PasswordHash:
        """Raises `ValueError` for a text longer than `PASSWORD_INPUT_MAX`."""
        ...

    async def verify(
        self, password: str, stored: PasswordHash | None, requester: Requester = SOMEBODY
    ) -> bool:
        """Whether `stored` is a hash of `password`.

        False, at the cost of the same work, when `stored` is None and when `password` is longer
        than `PASSWORD_INPUT_MAX`.
        """
        ...

    def is_outdated(self, stored: PasswordHash) -> bool:
        """Whether `hash` would use another cost or another pepper today."""
        ...
