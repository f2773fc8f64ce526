"""Stored responses to requests with an Idempotency-Key, as a port."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from application.ports.queries import PostDetails
from domain.users import UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotencyRecord:
    """The response to the first request with an Idempotency-Key."""

    user_id: UserId
    key: str
    request_hash: str
    """`fingerprint` of the request."""
    response: PostDetails
    at: datetime


class Idempotency(Protocol):
    async def claim(self, user_id: UserId, key: str, since: datetime) -> IdempotencyRecord | None:
        """Returns the record of this key that was saved after `since`. Without one, returns None
        and locks the key until the unit of work ends.

        While another unit of work holds the key, raises `IdempotencyKeyInUse` or waits for it.
        """
        ...

    async def save(self, record: IdempotencyRecord) -> None:
        """Call it after `claim`. The commit raises `AlreadyGone` if the user was deleted."""
        ...
