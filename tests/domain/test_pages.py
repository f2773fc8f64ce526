from domain.errors import Invalid
from domain.pages import LIMIT_DEFAULT, LIMIT_MAX, InvalidCursor, Page


def test_a_page_is_compared_by_what_is_on_it() -> None:
    assert Page(["a"], next=(1,)) == Page(["a"], next=(1,))
    assert Page(["a"], next=(1,)) != Page(["a"], next=None)


def test_limits_are_those_of_the_contract() -> None:
    assert (LIMIT_DEFAULT, LIMIT_MAX) == (20, 100)


def test_a_bad_cursor_came_back_changed() -> None:
    assert issubclass(InvalidCursor, Invalid)
