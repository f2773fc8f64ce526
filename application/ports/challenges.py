"""Challenges of logins, as a port."""

from datetime import datetime
from typing import Protocol

from domain.challenges import LoginChallenge


class ChallengeRepository(Protocol):
    async def add(self, challenge: LoginChallenge) -> None:
        """The commit raises `AlreadyGone` if the user was deleted."""
        ...

    async def hit(self, token_hash: str, now: datetime) -> LoginChallenge | None:
        """Count a try and return the challenge. None, and nothing is counted, if there is none with
        this hash, if it has expired at `now`, or after `TRIES_MAX` tries. Concurrent calls count
        one by one.
        """
        ...

    async def consume(self, token_hash: str) -> bool:
        """Delete the challenge. Returns False if there is none. One concurrent call succeeds."""
        ...
