"""Entity tags and the requests that depend on them (RFC 9110, sections 8.8.3 and 13).

A tag is `"<version>-<digest of the body>"`. It changes with anything in the representation;
`If-Match` compares only the version.
"""

import re
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Preconditions:
    """What If-Match and If-None-Match ask for, in that order (RFC 9110, section 13.2.2).

    A post has no Last-Modified, so the conditions on dates are ignored (sections 13.1.3, 13.1.4).
    """

    versions: frozenset[int] | None = None
    """The versions that If-Match names, by the strong comparison; None: any version will do."""
    tags: frozenset[str] = frozenset()
    """The tags that If-None-Match names, by the weak comparison; `*` names every tag."""

    def accept(self, version: int) -> bool:
        return self.versions is None or version in self.versions

    def exclude(self, tag: str) -> bool:
        return tag in self.tags or "*" in self.tags


_NONE = Preconditions()


async def preconditions(
    if_match: Annotated[
        list[str] | None,
        Header(
            alias="If-Match",
            description="Tags, or `*`; 412 unless the post's version is that of one of them",
        ),
        _TEXT,
    ] = None,
    if_none_match: Annotated[
        list[str] | None,
        Header(
            alias="If-None-Match",
            description="Tags, or `*`; if the post has one of them, a read is 304 and a change 412",
        ),
        _TEXT,
    ] = None,
) -> Preconditions:
    if if_match is None and if_none_match is None:
        return _NONE
    return Preconditions(_versions(if_match), _tags(if_none_match))


Conditions = Annotated[Preconditions, Depends(preconditions)]


def _versions(lines: list[str] | None) -> frozenset[int] | None:
    condition = _joined(lines)
    if condition is None or condition.strip() == "*":
        return None
    strong = [opaque for weak, opaque in _TAG.findall(condition) if not weak]
    return frozenset(int(ours[1]) for ours in map(_OURS.fullmatch, strong) if ours)


def _tags(lines: list[str] | None) -> frozenset[str]:
    condition = _joined(lines) or ""
    if condition.strip() == "*":
        return frozenset("*")
    return frozenset(opaque for _, opaque in _TAG.findall(condition))


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
