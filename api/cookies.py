"""The browser's cookie: the one place that reads it, and believes it from its own site alone."""

from dataclasses import dataclass
from datetime import timedelta

from fastapi.requests import HTTPConnection

from domain.errors import NotAllowed
from domain.sessions import InvalidToken

SECURE_NAME = "__Host-session"
"""The prefix binds the cookie to its host (RFC 6265bis, section 4.1.3.2)."""
PLAIN_NAME = "session"


class CrossSite(NotAllowed):
    detail = "A browser may send this from a page of this site alone"


class SessionCookie(str):
    """The value of a cookie, which is no bearer token."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class BrowserDoor:
    """How browsers get in. `plain_http`: whether one that comes over plain http gets a cookie that
    is not `Secure`, as in development. `origin`: that of PUBLIC_URL.
    """

    plain_http: bool = False
    origin: str | None = None


def door_of(connection: HTTPConnection) -> BrowserDoor | None:
    """None where the door is closed: no cookie counts, and none is given out."""
    door: BrowserDoor | None = connection.app.state.door
    return door


def session_cookie(connection: HTTPConnection) -> SessionCookie | None:
    """The cookie that authenticates the request. None without one, with an Authorization header of
    whatever scheme, and where the door is closed.

    Raises `CrossSite` for a request that may change something and does not come from a page of this
    site, and `InvalidToken` for several different cookies: one may be another site's.
    """
    door = door_of(connection)
    if door is None:
        return None
    values = set()
    for name, value in connection.scope["headers"]:
        if name == b"authorization":
            return None
        if name == b"cookie":
            values.update(_values(value, _name(door, connection)))
    if not values:
        return None
    if connection.scope["method"] != "GET":
        refuse_cross_site(connection)
    if len(values) > 1:
        raise InvalidToken
    return SessionCookie(values.pop())


def refuse_cross_site(connection: HTTPConnection) -> None:
    """Raise `CrossSite` unless a page of this site sent the request.

    `Sec-Fetch-Site` alone decides where the browser sends it (Fetch Metadata, section 2.3). Older
    browsers send `Origin` with everything that is neither GET nor HEAD.
    """
    site = connection.headers.get("sec-fetch-site")
    if site is not None:
        if site != "same-origin":
            raise CrossSite
        return
    host = connection.headers.get("host", "")
    door = door_of(connection)
    # A proxy that ends TLS may not tell that it did.
    own = {f"{connection.scope['scheme']}://{host}", f"https://{host}"}
    if connection.headers.get("origin") not in own | {door.origin if door else None} - {None}:
        raise CrossSite


def cookie_header(connection: HTTPConnection, value: str, life: timedelta) -> str:
    """The value of `Set-Cookie`; a life of nothing has the browser forget the cookie."""
    name = _name(door_of(connection) or BrowserDoor(), connection)
    secure = "; Secure" if name == SECURE_NAME else ""
    seconds = int(life.total_seconds())
    return f"{name}={value}; Max-Age={seconds}; Path=/; HttpOnly; SameSite=Lax{secure}"


def _name(door: BrowserDoor, connection: HTTPConnection) -> str:
    is_plain = door.plain_http and connection.scope["scheme"] == "http"
    return PLAIN_NAME if is_plain else SECURE_NAME


def _values(header: bytes, name: str) -> list[str]:
    """The values of the cookies with this name (RFC 6265, section 4.2.1)."""
    pairs = (pair.strip().partition("=") for pair in header.decode("latin-1").split(";"))
    return [value for key, _, value in pairs if key == name and value]
