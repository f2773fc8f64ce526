"""Idempotency keys: a repeated request gets the response of the first one."""

from dataclasses import fields
from datetime import timedelta
from hashlib import sha256
from json import dumps

from domain.errors import Conflict, RuleBroken
from domain.posts import PostContent

LIFE = timedelta(hours=24)
"""How long the response to the first request is kept."""


class IdempotencyKeyInUse(Conflict):
    detail = "The first request with this Idempotency-Key is still running"


class IdempotencyKeyReused(RuleBroken):
    detail = "This Idempotency-Key came with another body before"


def fingerprint(draft: PostContent) -> str:
    """A digest of all fields of the draft; equal drafts have equal digests.

    A field with its default value is left out. So a release that adds a field still recognizes the
    requests that the previous release has stored.
    """
    values = ((field, getattr(draft, field.name)) for field in fields(draft))
    given = {field.name: value for field, value in values if value != field.default}
    return sha256(dumps(given, sort_keys=True, default=str).encode()).hexdigest()
