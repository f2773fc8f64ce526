"""Pages of a list that may change while somebody walks through it."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from domain.errors import Invalid

LIMIT_DEFAULT = 20
LIMIT_MAX = 100

Item = TypeVar("Item", covariant=True)


class InvalidCursor(Invalid):
    detail = "The cursor is not one that this list gave out"


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some items of a list, in its order, and where the next page goes on."""

    items: list[Item]
    next: tuple[int, ...] | None
    """Sort key of the last item: a list continues strictly behind it. None: there is no more."""
