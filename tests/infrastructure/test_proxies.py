"""The client address, as trusted proxies report it."""

import pytest
from starlette.types import Receive, Scope, Send

from infrastructure.proxies import TrustedProxies, address

NETWORKS = ["127.0.0.1/32", "10.0.0.0/8", "fd00::/16"]


async def seen(
    peer: str | None, *headers: tuple[str, str], networks: list[str] = NETWORKS
) -> tuple[str | None, str]:
    """The client's address and the scheme that the application sees."""
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)

    async def nothing(*_: object) -> None: ...

    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    client = (peer, 4711) if peer else None
    asked: Scope = {"type": "http", "client": client, "scheme": "http", "headers": raw}
    await TrustedProxies(app, networks)(asked, nothing, nothing)  # type: ignore[arg-type]
    (scope,) = scopes
    return scope["client"][0] if scope["client"] else None, scope["scheme"]


FOR, PROTO = "X-Forwarded-For", "X-Forwarded-Proto"


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("127.0.0.1", ["192.0.2.1"], "192.0.2.1"),
        ("127.0.0.1", ["198.51.100.7, 192.0.2.1"], "192.0.2.1"),
        ("127.0.0.1", ["198.51.100.7", "192.0.2.1"], "192.0.2.1"),
        ("127.0.0.1", ["198.51.100.7, 192.0.2.1, 10.1.2.3"], "192.0.2.1"),
        ("127.0.0.1", ["10.0.0.1,10.0.0.2"], "10.0.0.1"),
        ("127.0.0.1", ["192.0.2.1:4711"], "192.0.2.1"),
        ("127.0.0.1", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("127.0.0.1", ["2001:DB8::1"], "2001:db8::1"),
        ("127.0.0.1", ["::ffff:192.0.2.1"], "192.0.2.1"),
        ("::ffff:127.0.0.1", ["192.0.2.1"], "192.0.2.1"),
        ("::ffff:127.0.0.1", ["192.0.2.1, ::ffff:10.0.0.1"], "192.0.2.1"),
        ("fd00::1", ["192.0.2.1"], "192.0.2.1"),
        ("127.0.0.1", ["192.0.2.1, unknown"], "127.0.0.1"),
        ("127.0.0.1", ["192.0.2.1, _hidden, 10.0.0.1"], "10.0.0.1"),
        ("127.0.0.1", ["é" * 10_000], "127.0.0.1"),
        ("127.0.0.1", [""], "127.0.0.1"),
        ("127.0.0.1", [], "127.0.0.1"),
        ("192.0.2.9", ["192.0.2.1"], "192.0.2.9"),
        ("::1", ["192.0.2.1"], "::1"),
        (None, ["192.0.2.1"], None),
    ],
)
async def test_the_client_is_the_last_untrusted_address(
    peer: str | None, forwarded: list[str], client: str | None
) -> None:
    assert (await seen(peer, *[(FOR, value) for value in forwarded]))[0] == client


@pytest.mark.parametrize(
    ("peer", "said", "scheme"),
    [
        ("127.0.0.1", ["https"], "https"),
        ("127.0.0.1", ["https, http"], "https"),
        ("127.0.0.1", ["https", "http"], "https"),
        ("127.0.0.1", ["http,https"], "http"),
        ("127.0.0.1", [" HTTPS "], "https"),
        ("127.0.0.1", ["gopher"], "http"),
        ("127.0.0.1", ["\xe9"], "http"),
        ("127.0.0.1", [], "http"),
        ("192.0.2.9", ["https"], "http"),
    ],
)
async def test_the_first_scheme_is_the_client_s(peer: str, said: list[str], scheme: str) -> None:
    assert (await seen(peer, *[(PROTO, value) for value in said]))[1] == scheme


@pytest.mark.parametrize("text", ["", "x", "127.0.0.1/8", "[::1", "1.2.3", "::ffff:1.2.3.4.5"])
def test_what_is_no_address_is_none(text: str) -> None:
    assert (address(text) is None) == (text != "[::1")
