"""Stored answers to requests that carry an Idempotency-Key, as a port."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from application.ports.queries import PostDetails
from domain.users import UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotencyRecord:
    """The first answer to a request that may be sent again."""

    user_id: UserId
    key: str
    asked: str
    """`fingerprint` of what was asked for."""
    answer: PostDetails
    at: datetime


class Idempotency(Protocol):
    async def claim(self, user_id: UserId, key: str, since: datetime) -> IdempotencyRecord | None:
        """What is kept of later than `since`; if nothing, the key is this unit of work's.

        Raises `IdempotencyKeyInUse` when it is another's, or waits for that one to end.
        """
        ...

    async def save(self, kept: IdempotencyRecord) -> None:
        """Call it after `claim`. The commit raises `AlreadyGone` if the user is."""
        ...
