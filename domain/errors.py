"""Refusals of the business, by kind.

A rule's own error is a class under one of the kinds. Outer layers look at the kind alone (HTTP
gives it a status), so a new error needs no change anywhere else.
"""

import re
from typing import ClassVar

_WORD_START = re.compile(r"(?<!^)(?=[A-Z])")


class DomainError(Exception):
    """A refusal that the caller may be told: neither `code` nor `detail` holds a secret."""

    code: ClassVar[str]
    """Stable name for programs: the class name in snake_case."""

    detail: str = ""
    """One sentence for people. A class attribute, or given to the constructor."""

    def __init_subclass__(cls) -> None:
        cls.code = _WORD_START.sub("_", cls.__name__).lower()

    def __init__(self, detail: str | None = None) -> None:
        if detail is not None:
            self.detail = detail
        super().__init__(self.detail)


class Unauthenticated(DomainError):
    """We do not know who is asking."""


class NotAllowed(DomainError):
    """We know who is asking, and it is not theirs to do."""


class NotFound(DomainError):
    """There is no such thing, or none that the asker may know of."""


class Conflict(DomainError):
    """It clashes with what is there."""


class Stale(DomainError):
    """What the change was based on has changed in the meantime."""


class Invalid(DomainError):
    """Something that we once handed out came back changed, used up or out of place."""


class RuleBroken(DomainError):
    """The content breaks a rule of the business."""


class TooMany(DomainError):
    """Asked for too often."""

    retry_after: int = 1
    """Seconds after which asking again makes sense."""


class Unavailable(DomainError):
    """A part that we need is down or overloaded; nothing was done."""

    retry_after: int = 1
    """Seconds after which asking again makes sense."""


class AlreadyGone(Conflict):
    """Lost a race against a deletion."""

    detail = "Something that this belongs to was deleted in the meantime"
