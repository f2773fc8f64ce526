"""Time-based one-time passwords (RFC 6238), as a port."""

from datetime import datetime
from typing import Protocol

from application.ports.adapter import Adapter


class TotpCodes(Adapter, Protocol):
    """Six digits, steps of 30 seconds, HMAC-SHA-1: what every authenticator app has."""

    def new_secret(self) -> str:
        """160 random bits in base32 (RFC 4226, section 4, requirement 6)."""
        ...

    def uri(self, secret: str, account: str) -> str:
        """The `otpauth:` address that an app reads from a QR code."""
        ...

    def step_of(self, secret: str, code: str, now: datetime) -> int | None:
        """The step that `code` is of: the one of `now` or the one before, the later if both have
        this code. None if it is of neither. The time that this takes does not depend on the code.
        """
        ...
