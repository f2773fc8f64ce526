"""Lists, a page at a time: cursors say where one goes on, in a form that only we can write."""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64

from fastapi import Request, Response
from pydantic import BaseModel, ConfigDict, Field

from domain.pages import LIMIT_DEFAULT, LIMIT_MAX, InvalidCursor, Page

_TAG_BYTES = 16
_NUMBER_BYTES = 8


class Cursors:
    """`key`: secret and the same in every process that serves the same clients."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def write(self, position: tuple[int, ...], query: str) -> str:
        """An opaque cursor that `read` takes back for the same `query` alone."""
        payload = b"".join(n.to_bytes(_NUMBER_BYTES, signed=True) for n in position)
        return urlsafe_b64encode(self._tag(payload, query) + payload).decode().rstrip("=")

    def read(self, cursor: str, query: str) -> tuple[int, ...]:
        """Raises `InvalidCursor` for what `write` did not give out for this `query`."""
        try:
            raw = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        except (NotBase64, UnicodeEncodeError):
            raise InvalidCursor from None
        tag, payload = raw[:_TAG_BYTES], raw[_TAG_BYTES:]
        if not hmac.compare_digest(tag, self._tag(payload, query)):
            raise InvalidCursor
        position = tuple(
            int.from_bytes(payload[at : at + _NUMBER_BYTES], signed=True)
            for at in range(0, len(payload), _NUMBER_BYTES)
        )
        if cursor != self.write(position, query):  # base64 has several spellings of the same bytes
            raise InvalidCursor
        return position

    def _tag(self, payload: bytes, query: str) -> bytes:
        # A zero byte ends the query: no query has one, so no two pairs are hashed alike.
        return hmac.digest(self._key, query.encode() + b"\0" + payload, "sha256")[:_TAG_BYTES]


class ListQuery(BaseModel):
    """What a list without filters may be asked for."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(LIMIT_DEFAULT, ge=1, le=LIMIT_MAX)
    after: str | None = Field(None, max_length=200, description="Cursor from a `Link` header")

    def position(self, request: Request) -> tuple[int, ...] | None:
        """Raises `InvalidCursor`, for that of another list too."""
        cursors: Cursors = request.app.state.cursors
        return None if self.after is None else cursors.read(self.after, _name(request))


def link_next(page: Page[object], request: Request, response: Response) -> None:
    """Tell of the next page of a list without filters (RFC 8288), if there is one."""
    if page.next is not None:
        cursors: Cursors = request.app.state.cursors
        after = cursors.write(page.next, _name(request))
        response.headers["Link"] = f'<{request.url.include_query_params(after=after)}>; rel="next"'


def _name(request: Request) -> str:
    path: str = request.scope["route"].path
    return path
