"""Audit events: who did what, to what, and when. An event never contains a secret."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NewType

from domain.users import UserId

EventId = NewType("EventId", int)

LOGGED_IN = "logged_in"
"""The event of a login, which tells an account's first login from later ones."""

AUDIT_DAYS = 365
"""Default number of days that events are kept."""

Detail = str | int | bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    name: str
    """In the past tense, as in "user_renamed"."""
    subject: str
    """Kind and id of what was changed, as in "user:7"."""
    actor_id: UserId | None
    """Who did it. None: the service itself, or an unauthenticated client."""
    at: datetime
    details: Mapping[str, Detail] = field(default_factory=dict)

    @classmethod
    def of(
        cls, name: str, subject: str, *, actor_id: UserId | None, at: datetime, **details: Detail
    ) -> "Event":
        return cls(name=name, subject=subject, actor_id=actor_id, at=at, details=details)


@dataclass(frozen=True, slots=True)
class Concerned:
    """The user whom an event concerns, with the address that they had before it."""

    id: UserId
    email: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """An event whose change was committed, for what follows it."""

    id: str
    """128 random bits in hexadecimal: the same at every attempt to do what follows."""
    event: Event
    concerned: Concerned | None = None
    """Known to the reactions to this event by its name. The audit does not have it."""
