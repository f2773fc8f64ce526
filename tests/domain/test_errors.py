import pytest

from domain import errors
from domain.errors import DomainError, NotFound, RuleBroken, TooMany, Unavailable


class TitleShouts(RuleBroken):
    detail = "A title does not shout"


class ShelfNotFound(NotFound):
    def __init__(self, shelf: str) -> None:
        super().__init__(f"There is no shelf {shelf}")


def test_the_code_of_an_error_is_its_name_in_snake_case() -> None:
    assert (TitleShouts.code, ShelfNotFound.code) == ("title_shouts", "shelf_not_found")
    assert (NotFound.code, TooMany.code) == ("not_found", "too_many")


def test_the_detail_comes_from_the_class_or_the_constructor() -> None:
    assert TitleShouts().detail == str(TitleShouts()) == "A title does not shout"
    assert ShelfNotFound("A").detail == str(ShelfNotFound("A")) == "There is no shelf A"
    assert TitleShouts("QUIET, PLEASE").detail == "QUIET, PLEASE"


def test_a_given_detail_does_not_change_the_class() -> None:
    TitleShouts("QUIET, PLEASE")

    assert TitleShouts().detail == "A title does not shout"


def test_an_error_without_a_detail_has_an_empty_one() -> None:
    assert NotFound().detail == str(NotFound()) == ""


@pytest.mark.parametrize("error", [TooMany, Unavailable])
def test_errors_that_allow_a_retry_say_when(error: type[TooMany | Unavailable]) -> None:
    assert error().retry_after >= 1


def test_every_kind_is_a_domain_error_with_its_own_code() -> None:
    classes = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    kinds = [kind for kind in classes if issubclass(kind, DomainError) and kind is not DomainError]

    assert len(kinds) > 8
    assert len({kind.code for kind in kinds}) == len(kinds)
