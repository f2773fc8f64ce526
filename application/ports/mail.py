"""Mail, as a port, and the queue of mails that are to be written and sent."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from application.ports.adapter import Adapter
from application.ports.jobs import Job, Jobs, NewJob
from application.request_info import RequestInfo
from domain.addresses import host_of
from domain.notices import Notice
from domain.one_time_codes import Purpose
from domain.users import UserId

MAIL_JOB = "mail"
"""The kind of job that writes and sends a mail."""


class MailNotSent(Exception):
    """The attempt failed; a retry may succeed."""


class MailRefused(Exception):
    """The mail can never be delivered: the address does not exist or cannot be reached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    to: str
    subject: str
    paragraphs: Sequence[str] = field(repr=False)
    token: str | None = field(default=None, repr=False)
    """What the mail was asked for. It follows the paragraphs."""
    link: str | None = field(default=None, repr=False)
    """Where a click leads."""
    label: str = ""
    """What `link` is for: "Choose a new password"."""
    closing: Sequence[str] = field(default=(), repr=False)
    """Paragraphs after token and link."""

    @property
    def text(self) -> str:
        """All of it as plain text, with token and link alone on their lines."""
        parts = [*self.paragraphs]
        if self.token:
            parts += ["This is the token for it:", self.token]
        if self.link:
            parts.append(f"{self.label}:\n{self.link}")
        return "\n\n".join([*parts, *self.closing]) + "\n"


class Mailer(Adapter, Protocol):
    async def send(self, mail: Mail) -> None:
        """Deliver `mail` to the mail server within 15 seconds.

        Raises `MailNotSent` or `MailRefused`; their texts contain neither address nor content.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxMessage:
    """A mail that is due: one with a one-time code, or a notice; and the request that caused it."""

    purpose: Purpose | Notice
    email: str
    user_id: UserId | None
    """The user of the code or notice. None: the user with the address, if there is one."""
    added_at: datetime
    attempts: int
    """Number of claims, including the current one."""
    origin: RequestInfo

    @classmethod
    def of(cls, job: Job) -> "OutboxMessage":
        """The message of a job that `Outbox.add` made."""
        user_id, notice = job.payload["user_id"], job.payload.get("notice")
        return cls(
            purpose=Notice(notice) if notice else Purpose(job.payload["purpose"]),
            email=job.payload["email"],
            user_id=None if user_id is None else UserId(user_id),
            added_at=job.wanted_at,
            attempts=job.attempts,
            origin=job.origin,
        )


class Outbox:
    """Mails that are to be sent, each as a job."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    async def add(
        self,
        purpose: Purpose | Notice,
        email: str,
        now: datetime,
        *,
        user_id: UserId | None = None,
    ) -> None:
        """Add a message that is due at once."""
        about = "notice" if isinstance(purpose, Notice) else "purpose"
        payload = {about: purpose.value, "email": email, "user_id": user_id}
        job = NewJob(kind=MAIL_JOB, payload=payload, due_at=now, lane=mail_lane(email))
        await self._jobs.add(job)


def mail_lane(email: str) -> str:
    return f"{MAIL_JOB} {host_of(email)}"
