"""Entity tags and what requests make depend on them (RFC 9110, sections 8.8.3 and 13).

A tag is `"<version>-<digest of the body>"`: a change of anything that the client sees changes it,
and what is changed on condition depends on the version alone.
"""

import re
from hashlib import blake2b
from typing import Any

from fastapi import Request

_TAG = re.compile(rb'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')
_OURS = re.compile(rb'"([0-9]{1,10})-[^"]+"')


def etag(version: int, body: bytes) -> str:
    return f'"{version}-{blake2b(body, digest_size=8).hexdigest()}"'


def is_known(request: Request, tag: str) -> bool:
    """Whether the client has what `tag` stands for: If-None-Match, by the weak comparison."""
    condition = header(request, b"if-none-match")
    if condition is None:
        return False
    known = [opaque for _, opaque in _TAG.findall(condition)]
    return condition.strip() == b"*" or tag.encode() in known


def known_versions(request: Request) -> frozenset[int] | None:
    """The versions that If-Match names, by the strong comparison; None: any version will do."""
    condition = header(request, b"if-match")
    if condition is None or condition.strip() == b"*":
        return None
    strong = [opaque for weak, opaque in _TAG.findall(condition) if not weak]
    return frozenset(int(ours[1]) for ours in map(_OURS.fullmatch, strong) if ours)


def header(request: Request, name: bytes) -> bytes | None:
    """The header's value, of several lines one list (RFC 9110, section 5.3)."""
    # Not by request.headers: it makes an object on top of the list, and this is a hot path.
    lines = [value for key, value in request.scope["headers"] if key == name]
    return b",".join(lines) if lines else None


def documented_condition(name: str, description: str) -> dict[str, Any]:
    """The OpenAPI entry of a request header that makes the request depend on a tag."""
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": description,
        "schema": {"type": "string"},
        "example": '"1-9f86d081884c7d65"',
    }


IF_MATCH = documented_condition(
    "If-Match", "Tags, or `*`; the change is made if the post's version is one of theirs"
)
IF_NONE_MATCH = documented_condition(
    "If-None-Match", "Tags that the client has, or `*`; the answer is 304 if it would have one"
)
ETAG = {
    "ETag": {
        "description": "Changes with everything in the body; strong",
        "schema": {"type": "string"},
        "example": '"1-9f86d081884c7d65"',
    }
}
