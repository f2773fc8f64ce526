"""Mail, as a port."""

from dataclasses import dataclass, field
from typing import Protocol

from application.ports.adapter import Adapter


class MailNotSent(Exception):
    """The attempt failed; a retry may succeed."""


class MailRefused(Exception):
    """The mail can never be delivered: the address does not exist or cannot be reached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    to: str
    subject: str
    text: str = field(repr=False)
    html: str = field(repr=False)
    """The same content as `text`, in HTML."""


class Mailer(Adapter, Protocol):
    async def send(self, mail: Mail) -> None:
        """Deliver `mail` to the mail server within 15 seconds.

        Raises `MailNotSent` or `MailRefused`; their texts contain neither address nor content.
        """
        ...
