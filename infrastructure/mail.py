"""Mail: over SMTP, or onto the console."""

import asyncio
import logging
import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.errors import MessageError
from email.message import EmailMessage
from email.utils import formatdate, make_msgid, parseaddr
from typing import Any
from urllib.parse import unquote, urlsplit

import aiosmtplib

from application.ports.mail import Mail, Mailer, MailNotSent, MailRefused
from domain.addresses import deliverable

log = logging.getLogger("gatepost.mail")

_TIMEOUT = 15.0
"""Seconds for all of it."""


def check_smtp_url(url: str) -> str:
    """`url`, or ValueError, without the url, when it is not one of an SMTP server."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError("must be smtp://HOST:PORT or smtps://USER:PASSWORD@HOST:PORT") from None
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname or parts.path.strip("/"):
        raise ValueError("must be smtp://HOST:PORT or smtps://USER:PASSWORD@HOST:PORT")
    return url


def check_sender(sender: str) -> str:
    """`sender`, or ValueError when it is neither an address nor a name with one."""
    try:
        local, _, domain = deliverable(parseaddr(sender)[1]).rpartition("@")
    except UnicodeError:
        local = domain = ""
    if not local or not domain or not sender.isprintable():
        raise ValueError("must be ADDRESS or NAME <ADDRESS>")
    return sender


@contextmanager
def _mapping_errors() -> Iterator[None]:
    try:
        yield
    except aiosmtplib.SMTPRecipientsRefused as error:
        # 4xx is temporary, 5xx permanent (RFC 5321, section 4.2.1).
        code = error.recipients[0].code
        raise (MailRefused if code >= 500 else MailNotSent)(f"recipient, {code}") from None
    except aiosmtplib.SMTPResponseException as error:
        raise MailNotSent(f"{type(error).__name__}, {error.code}") from None
    except (aiosmtplib.SMTPException, OSError) as error:  # TimeoutError among them
        raise MailNotSent(type(error).__name__) from None
    except (ValueError, LookupError, MessageError) as error:  # an address no mail can be sent to
        raise MailRefused(type(error).__name__) from None


def _untrusted(error: BaseException | None) -> str | None:
    """Why the server's certificate was refused, if that is what the error came from."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return (
                f"the mail server's certificate is not trusted ({error.verify_message}):"
                " SSL_CERT_FILE names the file with the certificates to trust"
            )
        error = error.__cause__ or error.__context__
    return None


class SmtpMailer(Mailer):
    """`url` is `smtp://[user:password@]host[:port]`, encrypted when the server offers to be
    (STARTTLS), or `smtps://...`, encrypted from the start. A password is never sent in the clear.
    `sender` is an address, or a name with one: `Gatepost <gatepost@example.com>`. `html` makes the
    HTML part of a mail; None: mails are plain text.
    """

    def __init__(self, url: str, *, sender: str, html: Callable[[Mail], str] | None = None) -> None:
        parts = urlsplit(check_smtp_url(url))
        address = parseaddr(check_sender(sender))[1]
        self._sender = sender.replace(address, deliverable(address))
        self._domain = deliverable(address).rpartition("@")[2]
        implicit_tls = parts.scheme == "smtps"
        self._server: dict[str, Any] = {
            "hostname": parts.hostname,
            "port": parts.port or (465 if implicit_tls else 25),
            "username": unquote(parts.username) if parts.username else None,
            "password": unquote(parts.password) if parts.password else None,
            "use_tls": implicit_tls,
            # None: when offered.
            "start_tls": True if parts.username and not implicit_tls else None,
            "tls_context": ssl.create_default_context(),
            # Or else it asks the resolver for a name, in the event loop.
            "local_hostname": self._domain,
            "timeout": _TIMEOUT,
        }
        self._html = html
        self._has_reported = False

    async def send(self, mail: Mail) -> None:
        try:
            with _mapping_errors():
                message = self._message(mail)
                async with asyncio.timeout(_TIMEOUT):
                    await aiosmtplib.send(message, **self._server)
        except MailNotSent as error:
            if not self._has_reported and (untrusted := _untrusted(error)):
                self._has_reported = True  # once, and not with every mail
                log.warning(untrusted)
            raise

    async def check(self) -> str | None:
        """Connect and log in as for sending, and send nothing."""
        try:
            with _mapping_errors():
                async with asyncio.timeout(_TIMEOUT), aiosmtplib.SMTP(**self._server):
                    return None
        except (MailNotSent, MailRefused) as error:
            return _untrusted(error) or f"mails could not be sent: {error}"

    def _message(self, mail: Mail) -> EmailMessage:
        message = EmailMessage()
        message["From"] = self._sender
        message["To"] = deliverable(mail.to)
        message["Subject"] = mail.subject
        message["Date"] = formatdate(localtime=True)
        message["Message-ID"] = make_msgid(domain=self._domain)
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(mail.text)
        if self._html:
            message.add_alternative(self._html(mail), subtype="html")
        return message


class NoMailer(Mailer):
    """Sends nothing and prints nothing, for a production service without a mail server.

    Mails wait until one is set, for as long as their codes would live.
    """

    async def send(self, mail: Mail) -> None:  # noqa: ARG002  the port's signature
        raise MailNotSent("no mail server is set")


class ConsoleMailer(Mailer):
    """Prints what would be sent, tokens included. For development."""

    async def send(self, mail: Mail) -> None:
        text = f"\nTo: {mail.to}\nSubject: {mail.subject}\n\n{mail.text}\n"
        encoding = sys.stdout.encoding or "ascii"
        # The token is ASCII, so that a terminal of any encoding shows it.
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
