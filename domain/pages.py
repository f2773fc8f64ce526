"""Pages of a list that may change between two requests (keyset pagination)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from json import dumps
from typing import Generic, TypeVar

from domain.errors import Invalid

LIMIT_DEFAULT = 20
LIMIT_MAX = 100
PAGE_BYTES = 2**20
"""Bytes of text in a page. The page ends with the item that reaches it."""

Item = TypeVar("Item", covariant=True)


class InvalidCursor(Invalid):
    detail = "The cursor is not one that this list gave out"


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Consecutive items of a list, and the position of the next page."""

    items: list[Item]
    next: tuple[int, ...] | None
    """Sort key of the last item; the next page starts after it. None: this is the last page."""


def page_length(texts: Sequence[str]) -> int:
    """The number of items in a page, given the text of each item.

    The page ends with the item that brings its size, as JSON in UTF-8, to `PAGE_BYTES`.
    """
    if 6 * sum(map(len, texts)) < PAGE_BYTES:  # JSON spells a character in at most six bytes
        return len(texts)
    sizes = accumulate(len(dumps(text, ensure_ascii=False).encode()) for text in texts)
    return next((n for n, size in enumerate(sizes, 1) if size >= PAGE_BYTES), len(texts))
