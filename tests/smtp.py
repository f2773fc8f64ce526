"""A real SMTP server for the tests, on a port of 127.0.0.1."""

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from functools import partial
from ipaddress import ip_address
from pathlib import Path

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.secrecy import SECRECY


class Inbox:
    """What has arrived. Every recipient is answered with `refused`, if that is set."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.recipients: list[str] = []
        self.encrypted: list[bool] = []
        self.refused = ""

    async def mail(self, number: int = 1) -> EmailMessage:
        """The mail of that number, counted from 1, as soon as it is there."""
        async with asyncio.timeout(20):
            while len(self.mails) < number:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return self.mails[number - 1]

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.refused:
            return self.refused
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        assert isinstance(envelope.content, bytes)
        self.mails.append(message_from_bytes(envelope.content, EmailMessage, policy=SMTP_POLICY))
        SECRECY.keep_codes(part_of(self.mails[-1], "plain"))
        self.recipients += envelope.rcpt_tos
        assert server.transport
        self.encrypted.append(server.transport.get_extra_info("ssl_object") is not None)
        return "250 OK"


class Certificate:
    """Of 127.0.0.1 and hooks.example, signed by nobody but itself; written to `path`."""

    def __init__(self, directory: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(
                x509.SubjectAlternativeName(
                    [x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName("hooks.example")]
                ),
                critical=False,
            )
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )
        self.path = directory / "certificate.pem"
        self.path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_file = directory / "key.pem"
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.path, key_file)


@asynccontextmanager
async def running_smtp(
    inbox: Inbox,
    *,
    port: int = 0,
    starttls: Certificate | None = None,
    tls: Certificate | None = None,
    login: tuple[str, str] | None = None,
) -> AsyncIterator[str]:
    """Run a server that delivers to `inbox`; gives its host and port."""

    def is_known(
        server: SMTP, session: Session, envelope: Envelope, mechanism: str, given: object
    ) -> AuthResult:
        assert isinstance(given, LoginPassword)
        success = (given.login.decode(), given.password.decode()) == login
        return AuthResult(success=success, handled=False)  # the server answers

    protocol = partial(
        SMTP,
        inbox,
        enable_SMTPUTF8=True,
        hostname="127.0.0.1",
        tls_context=starttls.context if starttls else None,
        authenticator=is_known,
        auth_required=login is not None,
    )
    loop = asyncio.get_running_loop()
    server = await loop.create_server(protocol, "127.0.0.1", port, ssl=tls.context if tls else None)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await asyncio.sleep(0)


@contextmanager
def smtp_in_a_thread() -> Iterator[str]:
    """Run a server for a test that does not run an event loop; gives its host and port."""
    address: Future[str] = Future()
    done = threading.Event()

    async def serve() -> None:
        async with running_smtp(Inbox()) as running:
            address.set_result(running)
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        yield address.result(10)
    finally:
        done.set()
        thread.join()


def part_of(mail: EmailMessage, subtype: str) -> str:
    """The text of the one part of a mail that is `text/subtype`."""
    parts = mail.iter_parts() if mail.is_multipart() else [mail]
    (part,) = (part for part in parts if part.get_content_subtype() == subtype)
    assert isinstance(part, EmailMessage)
    content: str = part.get_content()
    return content.replace("\r\n", "\n")
