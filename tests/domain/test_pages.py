import json

import pytest

from domain.errors import Invalid
from domain.pages import LIMIT_DEFAULT, LIMIT_MAX, PAGE_BYTES, InvalidCursor, Page, page_length


def test_a_page_is_compared_by_what_is_on_it() -> None:
    assert Page(["a"], next=(1,)) == Page(["a"], next=(1,))
    assert Page(["a"], next=(1,)) != Page(["a"], next=None)


def test_limits_are_those_of_the_contract() -> None:
    assert (LIMIT_DEFAULT, LIMIT_MAX) == (20, 100)


def test_a_bad_cursor_came_back_changed() -> None:
    assert issubclass(InvalidCursor, Invalid)


def test_a_page_of_short_texts_has_them_all() -> None:
    assert page_length(["a"] * LIMIT_MAX) == LIMIT_MAX
    assert page_length([]) == 0


@pytest.mark.parametrize("character", ["a", "é", "🦊", "\x01", '"', "\n"])
def test_a_page_ends_with_the_text_that_brings_it_to_a_mebibyte(character: str) -> None:
    size = len(json.dumps(character, ensure_ascii=False).encode()) - 2
    half = character * (PAGE_BYTES // 2 // size)

    assert page_length([half] * 2) == 2
    assert page_length([half] * 3) == 2
    assert page_length(["a", half, "a", half, "a"]) == 4
    assert page_length([half * 4, "a"]) == 1
