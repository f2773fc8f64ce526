"""The client address and the scheme of a request, as trusted proxies report them."""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from starlette.types import ASGIApp, Receive, Scope, Send

_Address = IPv4Address | IPv6Address


class TrustedProxies:
    """Takes the client's address from `X-Forwarded-For`, and the scheme from `X-Forwarded-Proto`,
    of requests whose peer is in one of the `networks`.

    Each proxy appends to `X-Forwarded-For` who it was asked by, so the client is the last one that
    is no trusted proxy; what stands before it may be made up. Of several schemes the first is the
    client's.
    """

    def __init__(self, app: ASGIApp, networks: Sequence[str]) -> None:
        self._app = app
        self._networks = [ip_network(network) for network in networks]
        self._is_trusted = lru_cache(4096)(self._is_in_networks)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = scope.get("client")
        if client and scope["type"] == "http":
            peer = address(client[0])
            if peer and self._is_trusted(peer):
                scope = {**scope, **self._as_told(scope, peer)}
        await self._app(scope, receive, send)

    def _as_told(self, scope: Scope, peer: _Address) -> Scope:
        told: Scope = {}
        schemes, hops = (
            b",".join(value for name, value in scope["headers"] if name == wanted).split(b",")
            for wanted in (b"x-forwarded-proto", b"x-forwarded-for")
        )
        scheme = schemes[0].strip().lower().decode("latin-1")
        if scheme in ("http", "https"):
            told["scheme"] = scheme
        client = peer
        for hop in reversed(hops):
            hop_address = address(hop.decode("latin-1"))
            if hop_address is None:
                break
            client = hop_address
            if not self._is_trusted(hop_address):
                break
        told["client"] = (str(client), 0 if client is not peer else scope["client"][1])
        return told

    def _is_in_networks(self, address: _Address) -> bool:
        return any(address in network for network in self._networks)


@lru_cache(4096)
def address(text: str) -> _Address | None:
    """The address in `text`, which may have a port or brackets; an IPv4-mapped one as IPv4.

    None for anything else.
    """
    if len(text) > 64:
        return None
    host = text.strip()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        parsed = ip_address(host)
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed
