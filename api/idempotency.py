"""The header that makes a request one that is carried out once."""

import re
from typing import Annotated, Any

from fastapi import Depends, Header
from pydantic import WithJsonSchema

from application.errors import raises
from domain.errors import Invalid

_KEY = re.compile(r"[!-~]{1,255}")


class InvalidIdempotencyKey(Invalid):
    detail = "An Idempotency-Key has 1 to 255 visible ASCII characters"


@raises(InvalidIdempotencyKey)
async def idempotency_key(
    lines: Annotated[
        list[str] | None,
        Header(
            alias="Idempotency-Key",
            description="Your own name for this request. Sent again within 24 hours, with the same "
            "body, it is answered as before and not carried out again.",
        ),
        WithJsonSchema(
            {
                "type": "string",
                "minLength": 1,
                "maxLength": 255,
                "pattern": "^[!-~]+$",
                "examples": ["3f6c1a52-9f0e-4b1e-8f43-0c9a3f0d6f11"],
            }
        ),
    ] = None,
) -> str | None:
    """The request's key, if it has one. Raises `InvalidIdempotencyKey`."""
    if lines is None:
        return None
    if len(lines) > 1 or not _KEY.fullmatch(lines[0]):
        raise InvalidIdempotencyKey
    return lines[0]


IdempotencyKey = Annotated[str | None, Depends(idempotency_key)]

REPLAYED: dict[str, Any] = {
    "Idempotency-Replayed": {
        "description": "There when this is the answer to an earlier request with the same key",
        "schema": {"type": "string", "enum": ["true"]},
    }
}
