"""Requests to addresses that clients gave us: no way into the network that the service runs in.

An address is checked where it is connected to, after it was resolved, so that neither a spelling
nor a name that changes its address gets past the check. Proxies of the environment are not used,
and redirects are not followed.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

import h11

from application.ports.outgoing import NotAnswered, Outgoing
from domain.webhooks import (
    BadWebhookUrl,
    HttpsRequired,
    NotAPublicAddress,
    UnresolvableHost,
    is_public,
)

URL_MAX = 2000
BODY_MAX = 64 * 1024
TIMEOUT = 15.0
"""Seconds for all of it."""

_RESOLVE_TIMEOUT = 5.0
# Printable ASCII but what browsers and libraries disagree about.
_URL = re.compile(r"[!-~]+")
_FORBIDDEN = frozenset('\\"<>^`{|}')
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE)
# A last label of digits, or of a hexadecimal number, makes a name an IPv4 address to some parsers.
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Returns the addresses of a host. Raises OSError or UnicodeError if it has none."""


class Target(NamedTuple):
    """The parts of a URL, each in its one spelling."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def is_default_port(self) -> bool:
        return self.port == {"http": 80, "https": 443}[self.scheme]

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.is_default_port else f"{host}:{self.port}"


def target_of(url: str) -> Target:
    """Raises `BadWebhookUrl` for what two parsers could take for two different addresses."""
    if len(url) > URL_MAX or not _URL.fullmatch(url) or _FORBIDDEN.intersection(url):
        raise BadWebhookUrl
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise BadWebhookUrl from None
    if parts.scheme not in ("http", "https") or not url.lower().startswith(f"{parts.scheme}://"):
        raise BadWebhookUrl
    if not host or port == 0 or "@" in parts.netloc or parts.netloc.endswith(":") or "#" in url:
        raise BadWebhookUrl
    if not _is_address(host, in_brackets="[" in parts.netloc) and not _is_name(host):
        raise BadWebhookUrl
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, port or (443 if parts.scheme == "https" else 80), path)


def _is_address(host: str, *, in_brackets: bool) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return False
    is_ipv6 = isinstance(address, IPv6Address)
    return is_ipv6 is in_brackets and "%" not in host


def _is_name(host: str) -> bool:
    labels = host.removesuffix(".").split(".")
    if len(host) > 253 or _NUMERIC.fullmatch(labels[-1]):
        return False
    return all(_LABEL.fullmatch(label) for label in labels)


async def resolve(host: str, port: int) -> Sequence[str]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class HttpOutgoing(Outgoing):
    """`private`: whether addresses that are not public are allowed, for development and tests.
    `https_only`: whether plain http is refused.
    """

    def __init__(
        self,
        *,
        private: bool,
        https_only: bool,
        resolve: Resolve = resolve,
        timeout: float = TIMEOUT,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._private = private
        self._https_only = https_only
        self._resolve = resolve
        self._timeout = timeout
        self._tls = tls

    async def check_url(self, url: str) -> None:
        target = target_of(url)
        if self._https_only and target.scheme != "https":
            raise HttpsRequired
        await self._addresses(target.host, target.port)

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        try:
            target = target_of(url)
            if self._https_only and target.scheme != "https":
                raise HttpsRequired
            async with asyncio.timeout(self._timeout):
                return await self._post(target, headers, body)
        except (BadWebhookUrl, HttpsRequired, NotAPublicAddress, UnresolvableHost) as error:
            raise NotAnswered(error.detail) from None
        except TimeoutError:
            raise NotAnswered("no answer in time") from None
        except ssl.SSLCertVerificationError:
            raise NotAnswered("the certificate is not trusted") from None
        except (OSError, h11.ProtocolError) as error:
            raise NotAnswered(type(error).__name__) from None

    async def _post(self, target: Target, headers: Mapping[str, str], body: bytes) -> int:
        # Connections are not kept: each delivery is checked by the address it goes to.
        reader, writer = await self._connect(target)
        try:
            connection = h11.Connection(h11.CLIENT)
            writer.write(_request(connection, target, headers, body))
            return await _status(connection, reader)
        finally:
            # Not `close`, which would wait for what the other side still sends.
            writer.transport.abort()

    async def _connect(self, target: Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to an address that was checked, whatever its name resolves to later."""
        is_https = target.scheme == "https"
        if is_https and self._tls is None:
            self._tls = ssl.create_default_context()
        tls, name = (self._tls, target.host) if is_https else (None, None)
        error: OSError | None = None
        for address in await self._addresses(target.host, target.port):
            try:
                return await asyncio.open_connection(
                    str(address), target.port, ssl=tls, server_hostname=name
                )
            except ssl.SSLError:
                raise
            except OSError as failed:
                error = failed
        raise error or OSError

    async def _addresses(self, host: str, port: int) -> Sequence[Address]:
        """The addresses of `host`, which are all public unless private ones are allowed."""
        try:
            async with asyncio.timeout(_RESOLVE_TIMEOUT):
                found = [ip_address(text) for text in await self._resolve(host, port)]
        except (OSError, ValueError):  # TimeoutError and UnicodeError among them
            raise UnresolvableHost from None
        if not found:
            raise UnresolvableHost
        if not self._private and not all(map(is_public, found)):
            raise NotAPublicAddress
        return found


def _request(
    connection: h11.Connection, target: Target, headers: Mapping[str, str], body: bytes
) -> bytes:
    fields = {
        **headers,
        "Host": target.authority,
        "Content-Length": str(len(body)),
        "Accept-Encoding": "identity",
        "Connection": "close",
    }
    events: list[h11.Event] = [
        h11.Request(method="POST", target=target.path, headers=list(fields.items())),
        h11.Data(data=body),
        h11.EndOfMessage(),
    ]
    return b"".join(connection.send(event) or b"" for event in events)


async def _status(connection: h11.Connection, reader: asyncio.StreamReader) -> int:
    """The status of the answer, after its body has ended or has become too long."""
    status, size = 0, 0
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(BODY_MAX))
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            size += len(event.data)
            if size >= BODY_MAX:
                return status
        elif isinstance(event, h11.EndOfMessage):
            return status
        elif isinstance(event, h11.ConnectionClosed):
            raise ConnectionResetError
