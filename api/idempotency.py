"""The header that makes a request one that is carried out once."""

from typing import Any

from fastapi import Request

from domain.idempotency import InvalidIdempotencyKey, check_key


def idempotency_key(request: Request) -> str | None:
    """The request's key, if it has one. Raises `InvalidIdempotencyKey`."""
    keys = [value for name, value in request.scope["headers"] if name == b"idempotency-key"]
    if not keys:
        return None
    if len(keys) > 1:
        raise InvalidIdempotencyKey
    return check_key(keys[0].decode("latin-1"))


IDEMPOTENCY_KEY: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Your own name for this request. Sent again within 24 hours, with the same "
    "body, it is answered as before and not carried out again.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    "example": "3f6c1a52-9f0e-4b1e-8f43-0c9a3f0d6f11",
}
REPLAYED: dict[str, Any] = {
    "Idempotency-Replayed": {
        "description": "There when this is the answer to an earlier request with the same key",
        "schema": {"type": "string", "enum": ["true"]},
    }
}
