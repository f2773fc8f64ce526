"""Settings that are compared with what others send, in the one spelling that those use.

Each function raises `ValueError` with what to write instead, and without the value.
"""

import re
from ipaddress import IPv6Network, ip_network
from urllib.parse import urlsplit

from domain.addresses import a_label

_SEGMENTS = re.compile(r"[A-Za-z0-9._~/-]+")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def origin(value: str) -> str:
    """An origin as browsers send it (RFC 6454, section 6.2): scheme and host in lower case, the
    host's A-label, no default port and no final slash.
    """
    refused = "must be an origin, as https://app.example.com: no path, no *"
    if not value.lower().startswith(("http://", "https://")):
        raise ValueError(f"{refused}, and with its scheme")
    try:
        parts = urlsplit(value)
        port = parts.port
        host = a_label(parts.hostname or "")
    except ValueError:  # UnicodeError among them
        raise ValueError(refused) from None
    extra = parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc
    if extra or not host or not set(host).isdisjoint("* \t\"'[],"):
        raise ValueError(refused)
    host = f"[{host}]" if ":" in host else host
    is_default = port is None or port == _DEFAULT_PORTS[parts.scheme]
    return f"{parts.scheme}://{host}" if is_default else f"{parts.scheme}://{host}:{port}"


def network(value: str) -> str:
    """A network in CIDR notation, of an address too. Bits behind the prefix are cleared, and
    IPv4-mapped addresses (RFC 4291, section 2.5.5.2) become IPv4, as which their peers count.
    """
    try:
        parsed = ip_network(value.strip("[]"), strict=False)
    except ValueError:
        raise ValueError(
            "must be addresses or networks (192.0.2.0/24), no names, no ports, no *"
        ) from None
    mapped = parsed.network_address.ipv4_mapped if isinstance(parsed, IPv6Network) else None
    if mapped is not None and parsed.prefixlen >= 96:
        parsed = ip_network((mapped, parsed.prefixlen - 96))
    return str(parsed)


def issuer(value: str) -> str:
    """An issuer identifier (OpenID Connect Discovery 1.0, section 3), or any other name that tokens
    may have as `iss`.
    """
    if "/.well-known/" in value:
        raise ValueError("must be the issuer alone, without /.well-known/...")
    if value.lower().startswith(("http:", "https:")):
        parts = urlsplit(value)
        if not parts.hostname or parts.query or parts.fragment or "@" in parts.netloc:
            raise ValueError("must be an address without query, fragment and user")
        # Scheme and host are the same in any case; the path is not.
        scheme, _, rest = value.partition("://")
        host, slash, path = rest.partition("/")
        return f"{scheme.lower()}://{host.lower()}{slash}{path}"
    return value


def root_path(value: str) -> str:
    """A prefix of paths: with a slash before it and none behind it; empty for `/`."""
    path = value.strip("/")
    if not path:
        return ""
    if "//" in path or not _SEGMENTS.fullmatch(path):
        raise ValueError("must be the path that the proxy takes off, as /api: no host, no query")
    return f"/{path}"
