"""Mail, as a port."""

from dataclasses import dataclass, field
from typing import Protocol

from application.ports.adapter import Adapter


class MailNotSent(Exception):
    """Not this time; the next attempt may succeed."""


class MailRefused(Exception):
    """Not ever: there is no such address, or no way to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    to: str
    subject: str
    text: str = field(repr=False)
    html: str = field(repr=False)
    """The same as `text`, for programs that show it."""


class Mailer(Adapter, Protocol):
    async def send(self, mail: Mail) -> None:
        """Hand `mail` on, within 15 seconds. Raises `MailNotSent` or `MailRefused`; neither repeats
        the address or what the mail says.
        """
        ...
