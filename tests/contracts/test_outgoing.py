"""The contract of requests to addresses that clients gave us: what is refused, and what is cut."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from application.ports.outgoing import NotAnswered, Outgoing
from domain.errors import RuleBroken
from domain.webhooks import BadWebhookUrl, HttpsRequired, NotAPublicAddress, UnresolvableHost
from infrastructure.outgoing import BODY_MAX, HttpOutgoing
from tests.fakes.outgoing import FakeOutgoing
from tests.smtp import Certificate

PUBLIC = "93.184.215.14"
NAMES: dict[str, Sequence[str]] = {
    "example.com": [PUBLIC],
    "private.example": ["10.0.0.1"],
    "both.example": [PUBLIC, "127.0.0.1"],
    "both6.example": [PUBLIC, "::1"],
    "mapped.example": ["::ffff:192.168.0.1"],
    "nat64.example": ["64:ff9b::7f00:1"],
    "6to4.example": ["2002:7f00:1::"],
    "teredo.example": ["2001::7f00:1"],
    "linklocal.example": ["fe80::1%eth0"],
    "nothing.example": [],
    "127.0.0.1.nip.example": ["127.0.0.1"],
    "example.com.": [PUBLIC],
    "xn--e1afmkfd.example": [PUBLIC],
}
OK_HEAD = b"HTTP/1.1 200 OK\r\n"


async def resolve(host: str, port: int) -> Sequence[str]:
    """The names of this test, and what the system takes for an address without asking anybody."""
    if host in NAMES:
        return NAMES[host]
    flags = 0 if host == "localhost" else socket.AI_NUMERICHOST
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return [str(address[0]) for *_, address in found]


def public_only(**options: object) -> HttpOutgoing:
    return HttpOutgoing(private=False, https_only=False, resolve=resolve, **options)  # type: ignore[arg-type]  # options of the test


REFUSED: dict[str, type[RuleBroken]] = {
    # The loopback, in every spelling that somebody takes for it.
    "http://127.0.0.1/": NotAPublicAddress,
    "http://127.1/": BadWebhookUrl,
    "http://0177.0.0.1/": BadWebhookUrl,
    "http://0x7f.0.0.1/": BadWebhookUrl,
    "http://0x7f000001/": BadWebhookUrl,
    "http://2130706433/": BadWebhookUrl,
    "http://017700000001/": BadWebhookUrl,
    "http://127.0.0.1./": BadWebhookUrl,
    "http://127.000.000.001/": BadWebhookUrl,
    "http://1.2.3.4.5/": BadWebhookUrl,
    "http://0/": BadWebhookUrl,
    "http://localhost/": NotAPublicAddress,
    "http://LOCALHOST/": NotAPublicAddress,
    "http://[::1]/": NotAPublicAddress,
    "http://[::]/": NotAPublicAddress,
    "http://[0:0:0:0:0:0:0:1]/": NotAPublicAddress,
    "http://[::127.0.0.1]/": NotAPublicAddress,
    "http://[::ffff:127.0.0.1]/": NotAPublicAddress,
    "http://[::ffff:7f00:1]/": NotAPublicAddress,
    "http://[64:ff9b::127.0.0.1]/": NotAPublicAddress,
    "http://[2002:7f00:1::]/": NotAPublicAddress,
    "http://[2001:0:7f00:1::]/": NotAPublicAddress,
    "http://[fe80::1%25eth0]/": BadWebhookUrl,
    "http://[fe80::1%eth0]/": BadWebhookUrl,
    "http://[fec0::1]/": NotAPublicAddress,
    "http://[ff02::1]/": NotAPublicAddress,
    "http://[v1.fe80::a]/": BadWebhookUrl,
    "http://127.0.0.1]/": BadWebhookUrl,
    "http://[127.0.0.1]/": BadWebhookUrl,
    # Networks beside us.
    "http://169.254.169.254/latest/meta-data/": NotAPublicAddress,
    "http://10.0.0.1/": NotAPublicAddress,
    "http://100.64.0.1/": NotAPublicAddress,
    "http://0.0.0.0/": NotAPublicAddress,
    "http://224.0.0.1/": NotAPublicAddress,
    "http://255.255.255.255/": NotAPublicAddress,
    # Names.
    "http://private.example/": NotAPublicAddress,
    "http://both.example/": NotAPublicAddress,
    "http://both6.example/": NotAPublicAddress,
    "http://mapped.example/": NotAPublicAddress,
    "http://nat64.example/": NotAPublicAddress,
    "http://6to4.example/": NotAPublicAddress,
    "http://teredo.example/": NotAPublicAddress,
    "http://linklocal.example/": NotAPublicAddress,
    "http://127.0.0.1.nip.example/": NotAPublicAddress,
    "http://nothing.example/": UnresolvableHost,
    "http://unknown.example/": UnresolvableHost,
    # What two parsers read in two ways.
    "http://example.com@127.0.0.1/": BadWebhookUrl,
    "http://user:secret@example.com/": BadWebhookUrl,
    "http://@example.com/": BadWebhookUrl,
    "http://127.0.0.1\\@example.com/": BadWebhookUrl,
    "http://example.com\\.private.example/": BadWebhookUrl,
    "http://example.com#@127.0.0.1/": BadWebhookUrl,
    "http://127.0.0.1 .example.com/": BadWebhookUrl,
    "http://127.0.0.1\t/": BadWebhookUrl,
    "http://exam\nple.com/": BadWebhookUrl,
    "http://example.com\x00/": BadWebhookUrl,
    "http://ⓛocalhost/": BadWebhookUrl,
    "http://１２７.0.0.1/": BadWebhookUrl,
    "http://127。0。0。1/": BadWebhookUrl,
    "http://%31%32%37.0.0.1/": BadWebhookUrl,
    "http:///127.0.0.1/": BadWebhookUrl,
    "http:127.0.0.1/": BadWebhookUrl,
    "http:/127.0.0.1/": BadWebhookUrl,
    "//example.com/": BadWebhookUrl,
    "example.com": BadWebhookUrl,
    "http://": BadWebhookUrl,
    "http://.example.com/": BadWebhookUrl,
    "http://example..com/": BadWebhookUrl,
    "http://-example.com/": BadWebhookUrl,
    "http://example.com:0/": BadWebhookUrl,
    "http://example.com:/": BadWebhookUrl,
    "http://example.com:65536/": BadWebhookUrl,
    "http://example.com:80:80/": BadWebhookUrl,
    "http://example.com:٨٠/": BadWebhookUrl,
    # Other schemes.
    "ftp://example.com/": BadWebhookUrl,
    "file:///etc/passwd": BadWebhookUrl,
    "gopher://127.0.0.1/": BadWebhookUrl,
    "javascript://example.com/": BadWebhookUrl,
    "http+unix://example.com/": BadWebhookUrl,
    f"http://example.com/{'a' * 2000}": BadWebhookUrl,
    f"http://{'a' * 64}.example/": BadWebhookUrl,
}


@pytest.mark.parametrize(("url", "error"), REFUSED.items(), ids=map(ascii, REFUSED))
async def test_a_hostile_url_is_refused_when_stored_and_when_sent(
    url: str, error: type[RuleBroken]
) -> None:
    outgoing = public_only()

    with pytest.raises(error) as refusal:
        await outgoing.check_url(url)
    with pytest.raises(NotAnswered) as failure:
        await outgoing.post(url, {}, b"")

    assert str(failure.value) == str(refusal.value) == error.detail


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com",
        "https://example.com:8443/path/?query=1&b=%20",
        "HTTPS://Example.com/",
        "http://example.com./",
        "http://xn--e1afmkfd.example/",
        "http://93.184.215.14/",
        "http://[2606:4700::1111]:8080/",
        "http://[::ffff:93.184.215.14]/",
    ],
)
async def test_a_public_url_is_allowed(url: str) -> None:
    await public_only().check_url(url.replace("Example", "example"))


@pytest.mark.parametrize("adapter", ["fake", "http"])
async def test_every_adapter_refuses_the_local_host(adapter: str) -> None:
    outgoing: Outgoing = FakeOutgoing() if adapter == "fake" else public_only()

    with pytest.raises(NotAPublicAddress):
        await outgoing.check_url("http://localhost/")
    with pytest.raises(NotAnswered):
        await outgoing.post("http://localhost/", {}, b"")
    await outgoing.check_url("https://example.com/")


async def test_in_production_only_https_is_allowed() -> None:
    outgoing = HttpOutgoing(private=True, https_only=True, resolve=resolve)

    with pytest.raises(HttpsRequired):
        await outgoing.check_url("http://example.com/")
    with pytest.raises(NotAnswered):
        await outgoing.post("http://example.com/", {}, b"")
    await outgoing.check_url("https://example.com/")


Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Receiver:
    """An HTTP server on the loopback that notes each request and answers as `answer` does."""

    def __init__(self, answer: Answer) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.names: list[str | None] = []
        self.closed = asyncio.Event()
        self.tasks: set[asyncio.Task[None]] = set()
        self._answer = answer

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        self.connections += 1
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            self.requests.append(head + await reader.readexactly(length))
            await self._answer(reader, writer)
        self.closed.set()
        writer.close()
        try:
            with suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()
        finally:
            writer.transport.abort()  # when cancelled before a client has read everything


@asynccontextmanager
async def receiving(
    answer: Answer, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[Receiver, int]]:
    receiver = Receiver(answer)
    if tls:
        tls.sni_callback = lambda _, name, __: receiver.names.append(name)
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield receiver, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in receiver.tasks:
            task.cancel()
        await asyncio.gather(*receiver.tasks, return_exceptions=True)
        await asyncio.sleep(0)  # the loop closes an aborted socket in its next turn


def answering(head: bytes, body: bytes = b"") -> Answer:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()

    return answer


async def to_loopback(host: str, port: int) -> Sequence[str]:
    return ["127.0.0.1"]


def private(**options: object) -> HttpOutgoing:
    wanted = {"resolve": to_loopback} | options
    return HttpOutgoing(private=True, https_only=False, **wanted)  # type: ignore[arg-type]  # options of the test


async def test_a_request_goes_to_the_address_that_was_checked_with_the_name_of_the_host() -> None:
    async with receiving(answering(OK_HEAD)) as (receiver, port):
        url = f"http://hooks.example:{port}/path?a=b%20c"
        status = await private().post(url, {"webhook-id": "msg_1"}, b'{"a":1}')

    assert status == 200
    (request,) = receiver.requests
    head, _, body = request.partition(b"\r\n\r\n")
    first, *fields = head.decode().split("\r\n")
    assert first == "POST /path?a=b%20c HTTP/1.1"
    assert f"Host: hooks.example:{port}" in fields
    assert "webhook-id: msg_1" in fields
    assert body == b'{"a":1}'


async def test_a_name_that_changes_its_address_after_the_check_is_not_connected_to() -> None:
    answers = [[PUBLIC], ["127.0.0.1"]]
    asked = []

    async def changing(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return answers[len(asked) - 1]

    async with receiving(answering(OK_HEAD)) as (receiver, port):
        outgoing = HttpOutgoing(private=False, https_only=False, resolve=changing)
        await outgoing.check_url(f"http://hooks.example:{port}/")
        with pytest.raises(NotAnswered, match="not public"):
            await outgoing.post(f"http://hooks.example:{port}/", {}, b"")

    assert asked == ["hooks.example"] * 2
    assert receiver.connections == 0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(status: int) -> None:
    async with receiving(answering(OK_HEAD)) as (other, other_port):
        location = b"Location: http://127.0.0.1:%d/\r\n" % other_port
        head = b"HTTP/1.1 %d Moved\r\n" % status + location
        async with receiving(answering(head)) as (_, port):
            assert await private().post(f"http://hooks.example:{port}/", {}, b"") == status

    assert other.connections == 0


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiving(answering(b"HTTP/1.1 502 Bad\r\n")) as (proxy, proxy_port):
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy_port}")
        async with receiving(answering(OK_HEAD)) as (_, port):
            assert await private().post(f"http://hooks.example:{port}/", {}, b"") == 200

    assert proxy.connections == 0


async def test_an_endless_answer_is_cut() -> None:
    sent = 0

    async def endless(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(OK_HEAD + b"\r\n")
        while True:
            writer.write(b"x" * 4096)
            await writer.drain()
            sent += 4096

    async with receiving(endless) as (receiver, port):
        assert await private().post(f"http://hooks.example:{port}/", {}, b"") == 200
        async with asyncio.timeout(10):
            await receiver.closed.wait()

    assert sent >= BODY_MAX


async def silence(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def dripping(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Bytes that come often enough for every timeout between two of them."""
    writer.write(OK_HEAD + b"\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.01)


async def dripping_head(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(OK_HEAD)
    while True:
        writer.write(b"X: y\r\n")
        await writer.drain()
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("answer", [silence, dripping, dripping_head])
async def test_a_slow_answer_is_given_up(answer: Answer) -> None:
    async with receiving(answer) as (_, port):
        with pytest.raises(NotAnswered, match="no answer in time"):
            await private(timeout=0.2).post(f"http://hooks.example:{port}/", {}, b"")


@pytest.mark.parametrize(
    "head", [b"nonsense\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"", OK_HEAD + b"X: " + b"y" * 200_000]
)
async def test_what_is_no_answer_is_a_failure(head: bytes) -> None:
    async with receiving(answering(head)) as (_, port):
        with pytest.raises(NotAnswered) as failure:
            await private().post(f"http://hooks.example:{port}/", {}, b"")

    assert "hooks" not in str(failure.value)


async def test_a_refused_connection_is_a_failure() -> None:
    with pytest.raises(NotAnswered):
        await private().post("http://hooks.example:1/", {}, b"")


async def test_the_certificate_is_that_of_the_name_and_not_of_the_address(tmp_path: Path) -> None:
    certificate = Certificate(tmp_path)
    trusting = ssl.create_default_context(cafile=str(certificate.path))
    async with receiving(answering(OK_HEAD), tls=certificate.context) as (receiver, port):
        url = f"https://hooks.example:{port}/"
        with pytest.raises(NotAnswered, match="certificate is not trusted"):
            await private().post(url, {}, b"")
        assert await private(tls=trusting).post(url, {}, b"") == 200
        with pytest.raises(NotAnswered, match="certificate is not trusted"):
            await private(tls=trusting).post(f"https://other.example:{port}/", {}, b"")

    assert receiver.names == ["hooks.example", "hooks.example", "other.example"]
    assert len(receiver.requests) == 1
