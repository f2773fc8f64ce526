"""What follows which event.

A reaction is an async function of what happened and of a unit of work. `REACTIONS` has it beside
the name of its event. The change that is recorded adds a job for it, in the same transaction. A
worker runs the reaction after the commit, and commits its unit of work together with the end of the
job.
"""

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from application.deliveries import send_to_webhooks
from application.notices import send_notice
from application.ports.jobs import Job, NewJob
from application.ports.storage import UnitOfWork
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
    """A job for each reaction to `event`. Those to `ANY` do not learn whom it concerns.

    None for `send_to_webhooks`: storages add that job, and only if a webhook subscribes.
    """
    by_name = reactions.get(event.name, ())
    by_any = [each for each in reactions.get(ANY, ()) if each is not send_to_webhooks]
    if not by_name and not by_any:
        return []
    payload = payload_of(event)
    whole = payload | ({"concerned": [concerned.id, concerned.email]} if concerned else {})
    return [
        NewJob(kind=name_of(each), payload=known, due_at=event.at)
        for following, known in ((by_name, whole), (by_any, payload))
        for each in following
    ]


def payload_of(event: Event) -> dict[str, Any]:
    """What a job about `event` knows of it. The time is that at which the job was wanted."""
    return {
        "id": secrets.token_hex(16),
        "name": event.name,
        "subject": event.subject,
        "actor_id": event.actor_id,
        "details": dict(event.details),
    }


def name_of(reaction: Reaction) -> str:
    """The kind of the jobs that run `reaction`: the name of the function."""
    name: str = getattr(reaction, "__name__")  # noqa: B009  a Callable has none to mypy
    return name


def happened_of(job: Job) -> Happened:
    """What a job of `jobs_for` is about."""
    payload = job.payload
    actor_id = payload["actor_id"]
    event = Event(
        name=payload["name"],
        subject=payload["subject"],
        actor_id=None if actor_id is None else UserId(actor_id),
        at=job.wanted_at,
        details=payload["details"],
    )
    concerned = None
    if "concerned" in payload:
        user_id, email = payload["concerned"]
        concerned = Concerned(UserId(user_id), email)
    return Happened(id=payload["id"], event=event, concerned=concerned)
