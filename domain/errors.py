"""Errors of the domain, by kind.

The error of a rule is a subclass of one of the kinds. Outer layers look only at the kind (HTTP maps
it to a status), so a new error needs no change elsewhere.
"""

import re
from collections.abc import Mapping
from typing import ClassVar

_WORD_START = re.compile(r"(?<!^)(?=[A-Z])")


class DomainError(Exception):
    """An error that clients see. Neither `code` nor `detail` contains a secret."""

    code: ClassVar[str]
    """Stable identifier for programs: the class name in snake_case, unless the class says another
    one.
    """

    detail: str = ""
    """One sentence for people. Set it as a class attribute or in the constructor."""

    @property
    def members(self) -> Mapping[str, object]:
        """Further members of the problem, for programs. They may contain secrets of the client."""
        return {}

    def __init_subclass__(cls) -> None:
        if "code" not in vars(cls):
            cls.code = _WORD_START.sub("_", cls.__name__).lower()

    def __init__(self, detail: str | None = None) -> None:
        if detail is not None:
            self.detail = detail
        super().__init__(self.detail)


class Unauthenticated(DomainError):
    """The client is not authenticated."""


class NotAllowed(DomainError):
    """The client is authenticated, and may not do this."""


class NotFound(DomainError):
    """It does not exist, or the client may not know that it exists."""


class Conflict(DomainError):
    """The change conflicts with the current state."""


class Stale(DomainError):
    """The change was based on a state that is no longer current."""


class Invalid(DomainError):
    """A token or cursor of this service is malformed, expired, used or for another purpose."""


class RuleBroken(DomainError):
    """The content breaks a business rule."""


class TooMany(DomainError):
    """A limit is exhausted."""

    retry_after: int = 1
    """Seconds until a retry can succeed."""


class Unavailable(DomainError):
    """A dependency is down or overloaded. Nothing was changed."""

    retry_after: int = 1
    """Seconds until a retry can succeed."""


class AlreadyGone(Conflict):
    """Something that the change refers to was deleted concurrently."""

    detail = "Something that this belongs to was deleted in the meantime"
