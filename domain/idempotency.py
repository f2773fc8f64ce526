"""Requests that may be sent again and are carried out once."""

from dataclasses import fields
from datetime import timedelta
from hashlib import sha256
from json import dumps

from domain.errors import Conflict, RuleBroken
from domain.posts import PostContent

LIFE = timedelta(hours=24)
"""How long a first answer is kept."""


class IdempotencyKeyInUse(Conflict):
    detail = "The first request with this Idempotency-Key is still running"


class IdempotencyKeyReused(RuleBroken):
    detail = "This Idempotency-Key came with another body before"


def fingerprint(draft: PostContent) -> str:
    """A digest that is equal for drafts that ask for the same new post.

    Every field of the draft counts. One that has its default is left out, so that a release that
    adds a field still recognizes the requests that the release before it has stored.
    """
    values = ((field, getattr(draft, field.name)) for field in fields(draft))
    asked = {field.name: value for field, value in values if value != field.default}
    return sha256(dumps(asked, sort_keys=True, default=str).encode()).hexdigest()
