"""The authenticated user of the current request, and the number of their committed writes.

A context variable, used by the replica alone: a standby that has fewer of a user's writes does not
serve this user.
"""

from contextvars import ContextVar
from dataclasses import dataclass

from domain.users import UserId


@dataclass(frozen=True, slots=True)
class Requester:
    user_id: UserId
    writes: int
    """`users.writes`, as authentication has read it."""


REQUESTER: ContextVar[Requester | None] = ContextVar("requester", default=None)
"""Set by the queries that find the user of a token. None: nobody is authenticated."""
