"""Entity tags and the requests that depend on them (RFC 9110, sections 8.8.3 and 13).

A tag is `"<version>-<digest of the body>"`. It changes with anything in the representation;
`If-Match` compares only the version.
"""

import re
from hashlib import blake2b
from typing import Annotated, Any

from fastapi import Depends, Header
from pydantic import WithJsonSchema

_TAG = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')
_OURS = re.compile(r'"([0-9]{1,10})-[^"]+"')

_EXAMPLE = '"1-9f86d081884c7d65"'
_TEXT = WithJsonSchema({"type": "string", "examples": [_EXAMPLE]})


def etag(version: int, body: bytes) -> str:
    return f'"{version}-{blake2b(body, digest_size=8).hexdigest()}"'


async def if_match(
    lines: Annotated[
        list[str] | None,
        Header(
            alias="If-Match",
            description="Tags, or `*`; the change is made if the post's version is one of theirs",
        ),
        _TEXT,
    ] = None,
) -> frozenset[int] | None:
    """The versions that If-Match names, by the strong comparison; None: any version will do."""
    condition = _joined(lines)
    if condition is None or condition.strip() == "*":
        return None
    strong = [opaque for weak, opaque in _TAG.findall(condition) if not weak]
    return frozenset(int(ours[1]) for ours in map(_OURS.fullmatch, strong) if ours)


async def if_none_match(
    lines: Annotated[
        list[str] | None,
        Header(
            alias="If-None-Match",
            description="Tags that the client has, or `*`; the answer is 304 if it would have one",
        ),
        _TEXT,
    ] = None,
) -> frozenset[str]:
    """The tags that If-None-Match names, by the weak comparison; `*` names every tag."""
    condition = _joined(lines)
    if condition is None:
        return frozenset()
    if condition.strip() == "*":
        return frozenset("*")
    return frozenset(opaque for _, opaque in _TAG.findall(condition))


IfMatch = Annotated[frozenset[int] | None, Depends(if_match)]
IfNoneMatch = Annotated[frozenset[str], Depends(if_none_match)]


def is_current(tag: str, known: frozenset[str]) -> bool:
    """Whether a client that sent If-None-Match has the representation of `tag` already."""
    return tag in known or "*" in known


def _joined(lines: list[str] | None) -> str | None:
    """The field's value: several lines are one list (RFC 9110, section 5.3)."""
    return ",".join(lines) if lines else None


ETAG: dict[str, Any] = {
    "ETag": {
        "description": "Changes with everything in the body; strong",
        "schema": {"type": "string"},
        "example": _EXAMPLE,
    }
}
