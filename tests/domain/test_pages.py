import json

import pytest

from domain.errors import Invalid
from domain.pages import LIMIT_DEFAULT, LIMIT_MAX, PAGE_BYTES, InvalidCursor, Page, page_length


def test_pages_compare_by_their_content() -> None:
    assert Page(["a"], next=(1,)) == Page(["a"], next=(1,))
    assert Page(["a"], next=(1,)) != Page(["a"], next=None)


def test_limits_are_those_of_the_contract() -> None:
    assert (LIMIT_DEFAULT, LIMIT_MAX) == (20, 100)


def test_an_invalid_cursor_is_of_the_kind_invalid() -> None:
    assert issubclass(InvalidCursor, Invalid)


def test_a_page_has_all_short_texts() -> None:
    assert page_length(["a"] * LIMIT_MAX) == LIMIT_MAX
    assert page_length([]) == 0


@pytest.mark.parametrize("character", ["a", "é", "🦊", "\x01", '"', "\n"])
def test_a_page_ends_with_the_text_that_reaches_one_mebibyte(character: str) -> None:
    size = len(json.dumps(character, ensure_ascii=False).encode()) - 2
    half = character * (PAGE_BYTES // 2 // size)

    assert page_length([half] * 2) == 2
    assert page_length([half] * 3) == 2
    assert page_length(["a", half, "a", half, "a"]) == 4
    assert page_length([half * 4, "a"]) == 1
