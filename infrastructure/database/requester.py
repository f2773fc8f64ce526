"""Whose request is in hand, and how much of theirs the primary had when it began.

A context variable, for the replica alone: what users wrote is counted, and a standby that has seen
fewer of their writes is not what they are shown.
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
