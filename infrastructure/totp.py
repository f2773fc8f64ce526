"""Time-based one-time passwords, on pyotp."""

import hmac
from datetime import datetime

import pyotp

from application.ports.totp import TotpCodes

_SECRET_CHARACTERS = 32
"""Of base32: 160 bits."""


class PyotpCodes(TotpCodes):
    """`issuer`: the name that apps show beside the account."""

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer

    def new_secret(self) -> str:
        return pyotp.random_base32(_SECRET_CHARACTERS)

    def uri(self, secret: str, account: str) -> str:
        return pyotp.TOTP(secret).provisioning_uri(name=account, issuer_name=self._issuer)

    def step_of(self, secret: str, code: str, now: datetime) -> int | None:
        totp = pyotp.TOTP(secret)
        current = totp.timecode(now)
        given = code.encode(errors="replace")
        matching = [
            step
            for step in (current, max(current - 1, 0))
            if hmac.compare_digest(totp.generate_otp(step).encode(), given)
        ]
        return matching[0] if matching else None
