"""Pagination: the query parameters of a list, its cursors, and the link to the next page."""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections.abc import Sequence
from hashlib import blake2b
from urllib.parse import quote

from fastapi import Request, Response
from pydantic import BaseModel, ConfigDict, Field

from domain.pages import LIMIT_DEFAULT, LIMIT_MAX, InvalidCursor, Page

_TAG_BYTES = 16
_NUMBER_BYTES = 8


class Cursors:
    """`keys` are secret, and the same in every process that serves the same clients. The first one
    signs cursors, all of them verify.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = tuple(keys)

    def write(self, position: tuple[int, ...], query: str) -> str:
        """Returns an opaque cursor, which `read` accepts for the same `query` only."""
        payload = b"".join(n.to_bytes(_NUMBER_BYTES, signed=True) for n in position)
        return _encoded(_tag(self._keys[0], payload, query) + payload)

    def read(self, cursor: str, query: str) -> tuple[int, ...]:
        """Returns the position. Raises `InvalidCursor` unless `write` made `cursor` for `query`."""
        try:
            raw = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        except (NotBase64, UnicodeEncodeError):
            raise InvalidCursor from None
        tag, payload = raw[:_TAG_BYTES], raw[_TAG_BYTES:]
        if not any(hmac.compare_digest(tag, _tag(key, payload, query)) for key in self._keys):
            raise InvalidCursor
        position = tuple(
            int.from_bytes(payload[at : at + _NUMBER_BYTES], signed=True)
            for at in range(0, len(payload), _NUMBER_BYTES)
        )
        if cursor != _encoded(raw):  # base64 has several spellings of the same bytes
            raise InvalidCursor
        return position


def _encoded(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")


def _tag(key: bytes, payload: bytes, query: str) -> bytes:
    # No query has a zero byte, so no two pairs have the same input to the hash.
    hashed = blake2b(query.encode() + b"\0" + payload, key=key, digest_size=_TAG_BYTES)
    return hashed.digest()


class PageQuery(BaseModel):
    """The query parameters of a list; subclasses add filters."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(LIMIT_DEFAULT, ge=1, le=LIMIT_MAX, description="Items on a page")
    after: str | None = Field(
        None, max_length=200, description="Cursor from a `Link` header: where the page begins"
    )


def position(query: PageQuery, request: Request) -> tuple[int, ...] | None:
    """The sort key after which the page begins; None for the first page. Raises `InvalidCursor`."""
    if query.after is None:
        return None
    cursors: Cursors = request.app.state.cursors
    return cursors.read(query.after, _binding(query, request))


def _binding(query: PageQuery, request: Request) -> str:
    """The list that a cursor is bound to: path, filters and order, but not the page size."""
    path: str = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    return path + query.model_dump_json(exclude={"limit", "after"})


def link_next(page: Page[object], query: PageQuery, request: Request, response: Response) -> None:
    """Set the `Link` header of the response, if there is a next page."""
    after = cursor_after(page, query, request)
    if after is not None:
        response.headers["Link"] = next_link(request, after)


def cursor_after(page: Page[object], query: PageQuery, request: Request) -> str | None:
    """The cursor of the next page; None on the last page."""
    cursors: Cursors = request.app.state.cursors
    return cursors.write(page.next, _binding(query, request)) if page.next is not None else None


def next_link(request: Request, after: str) -> str:
    """The value of the `Link` header (RFC 8288) for the page after the cursor `after`: path and
    query of the request with this cursor.

    It is a path-absolute reference (RFC 3986, section 4.2). Clients resolve it against the URL that
    they requested, so a proxy that reports another host cannot redirect their bearer tokens.
    """
    # Built by hand, because Starlette's URL class takes 7 % of a list's time.
    scope = request.scope
    root_path = scope.get("root_path", "").rstrip("/")
    path = scope["path"].removeprefix(root_path)
    query = [
        part
        for part in scope["query_string"].split(b"&")
        if part and not part.startswith(b"after=")
    ]
    query.append(b"after=" + after.encode())
    # Unencoded characters could end the URL or the header.
    rest = quote(b"&".join(query), safe="%&=+!$'()*,;:@/?")
    return f'<{quote(root_path + path)}?{rest}>; rel="next"'


LINK = {
    "Link": {
        "description": 'Path of the next page as `rel="next"` (RFC 8288); absent on the last one',
        "schema": {"type": "string"},
        "example": '</users?limit=20&after=AAECAwQFBgcICQ>; rel="next"',
    }
}
