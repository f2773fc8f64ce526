from datetime import datetime
from itertools import count

from application.ports.totp import TotpCodes

STEP = 30


class FakeTotpCodes(TotpCodes):
    """Codes that anybody can compute: `code` says the one of a secret at a time."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def new_secret(self) -> str:
        return f"SECRET{next(self._numbers):026}"

    def uri(self, secret: str, account: str) -> str:
        return f"otpauth://totp/{account}?secret={secret}"

    def step_of(self, secret: str, code: str, now: datetime) -> int | None:
        step = _step(now)
        return next((s for s in (step, step - 1) if code == _code(secret, s)), None)

    def code(self, secret: str, at: datetime) -> str:
        return _code(secret, _step(at))


def _step(at: datetime) -> int:
    return int(at.timestamp()) // STEP


def _code(secret: str, step: int) -> str:
    return f"{(int(secret[6:]) * 7919 + step) % 1_000_000:06}"
