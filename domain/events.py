"""What happened, for the audit: who did what to what, and when. Never a secret."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NewType

from domain.users import UserId

EventId = NewType("EventId", int)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    name: str
    """In the past tense: "post_edited"."""
    actor_id: UserId | None
    """Who did it; None for the service itself and for somebody unknown."""
    subject: str
    """What it was done to, kind and id: "post:7"."""
    at: datetime
    details: Mapping[str, str | int | bool | None] = field(default_factory=dict)
