"""What follows which event.

A reaction is an async function of what happened and of a unit of work. `REACTIONS` has it beside
the name of its event. The change that is recorded adds a job for it, in the same transaction. A
worker runs the reaction after the commit, and commits its unit of work together with the end of the
job.
"""

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from application.notices import send_notice
from application.ports.jobs import NewJob
from application.ports.storage import UnitOfWork
from application.webhooks import send_to_webhooks
from domain.events import Concerned, Event, Happened
from domain.users import User, UserId

Reaction = Callable[[Happened, UnitOfWork], Awaitable[None]]
"""Changes what it wants by the unit of work, and does not commit it.

It may run again after a failure, and its changes are made once. What it does to the world besides
is not undone: let it add a job for that, with the id of what happened in the payload.
"""

Reactions = Mapping[str, Sequence[Reaction]]

ANY = "*"
"""Every event."""

REACTIONS: Reactions = {
    ANY: (send_to_webhooks,),
    "address_change_undone": (send_notice,),
    "factors_removed": (send_notice,),
    "new_network_seen": (send_notice,),
    "passkey_added": (send_notice,),
    "passkey_removed": (send_notice,),
    "passkey_renamed": (send_notice,),
    "password_changed": (send_notice,),
    "password_reset": (send_notice,),
    "recovery_codes_made": (send_notice,),
    "refresh_token_reused": (send_notice,),
    "token_deleted": (send_notice,),
    "token_made": (send_notice,),
    "tokens_deleted": (send_notice,),
    "totp_added": (send_notice,),
    "totp_removed": (send_notice,),
}
"""The reactions to each event, by the event's name."""


def without(off: Reaction, reactions: Reactions = REACTIONS) -> Reactions:
    """The reactions but one that is switched off, so that it adds no job."""
    return {
        name: tuple(each for each in following if each is not off)
        for name, following in reactions.items()
    }


def jobs_for(event: Event, reactions: Reactions, *, concerned: User | None = None) -> list[NewJob]:
    """A job for each reaction to `event`. Those to `ANY` do not learn whom it concerns."""
    by_name, by_any = reactions.get(event.name, ()), reactions.get(ANY, ())
    if not by_name and not by_any:
        return []
    payload = {
        "id": secrets.token_hex(16),
        "name": event.name,
        "subject": event.subject,
        "actor_id": event.actor_id,
        "at": event.at.isoformat(),
        "details": dict(event.details),
    }
    whole = payload | ({"concerned": [concerned.id, concerned.email]} if concerned else {})
    return [
        *(NewJob(kind=name_of(each), payload=whole, due_at=event.at) for each in by_name),
        *(
            NewJob(
                kind=name_of(each),
                payload=payload,
                due_at=event.at,
                if_subscribed_to=event.name if each is send_to_webhooks else None,
            )
            for each in by_any
        ),
    ]


def name_of(reaction: Reaction) -> str:
    """The kind of the jobs that run `reaction`: the name of the function."""
    name: str = getattr(reaction, "__name__")  # noqa: B009  a Callable has none to mypy
    return name


def happened_of(payload: Mapping[str, Any]) -> Happened:
    """What a job of `jobs_for` is about, by its payload."""
    actor_id = payload["actor_id"]
    event = Event(
        name=payload["name"],
        subject=payload["subject"],
        actor_id=None if actor_id is None else UserId(actor_id),
        at=datetime.fromisoformat(payload["at"]),
        details=payload["details"],
    )
    concerned = None
    if "concerned" in payload:
        user_id, email = payload["concerned"]
        concerned = Concerned(UserId(user_id), email)
    return Happened(id=payload["id"], event=event, concerned=concerned)
