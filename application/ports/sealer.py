"""Encryption of secrets at rest, as a port."""

from typing import Protocol

from application.ports.adapter import Adapter


class Sealer(Adapter, Protocol):
    """Encrypts and authenticates. The newest of several keys seals, all of them open."""

    def seal(self, secret: str, context: str) -> str:
        """`secret`, encrypted, as ASCII text. Each call returns another text.

        `context` names what the secret is and whose, as in "totp of user:7". It is bound to the
        result, so that nobody can move a sealed secret to another place.
        """
        ...

    def open(self, sealed: str, context: str) -> str | None:
        """What was sealed; None unless one of the keys sealed it in the same `context`."""
        ...
