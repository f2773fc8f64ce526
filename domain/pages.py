"""Pages of a list that may change while somebody walks through it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from json import dumps
from typing import Generic, TypeVar

from domain.errors import Invalid

LIMIT_DEFAULT = 20
LIMIT_MAX = 100
PAGE_BYTES = 2**20
"""Of text. A page ends with the item that reaches it."""

Item = TypeVar("Item", covariant=True)


class InvalidCursor(Invalid):
    detail = "The cursor is not one that this list gave out"


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some items of a list, in its order, and where the next page goes on."""

    items: list[Item]
    next: tuple[int, ...] | None
    """Sort key of the last item: a list continues strictly behind it. None: there is no more."""


def page_length(texts: Sequence[str]) -> int:
    """How many of these texts, one an item, make a page: up to the one that brings it to
    `PAGE_BYTES`, counted as JSON in UTF-8.
    """
    if 6 * sum(map(len, texts)) < PAGE_BYTES:  # JSON has no longer spelling of a character
        return len(texts)
    sizes = accumulate(len(dumps(text, ensure_ascii=False).encode()) for text in texts)
    return next((n for n, size in enumerate(sizes, 1) if size >= PAGE_BYTES), len(texts))
