from dataclasses import dataclass, field

import pytest

from domain.fields import TRANSIENT, field_paths


@dataclass
class Size:
    width: int
    height: int


@dataclass
class Box:
    id: int
    size: Size
    colour: str | None = None


@dataclass
class Crate:
    box: Box
    id: int


@dataclass
class Parcel:
    id: int
    shaken: bool = field(default=False, metadata=TRANSIENT)


def test_a_transient_field_is_not_stored() -> None:
    assert field_paths(Parcel) == {"id": "id"}


def test_a_field_is_reached_by_its_name() -> None:
    assert field_paths(Size) == {"width": "width", "height": "height"}


def test_the_fields_of_a_held_dataclass_are_reached_through_it_in_order() -> None:
    assert list(field_paths(Box).items()) == [
        ("id", "id"),
        ("width", "size.width"),
        ("height", "size.height"),
        ("colour", "colour"),
    ]


def test_two_fields_of_one_name_are_an_error() -> None:
    with pytest.raises(TypeError, match=r"^Crate has two fields named id$"):
        field_paths(Crate)
