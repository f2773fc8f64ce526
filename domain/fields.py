"""Fields of dataclasses by name, so that what follows from a field need not name it again."""

from collections.abc import Callable, Mapping
from dataclasses import Field, fields, is_dataclass
from typing import Any, TypeVar, get_type_hints

T = TypeVar("T")

TRANSIENT = {"transient": True}
"""The metadata of a field that is not stored. It has a default."""


def stored_fields(kind: type[Any]) -> list[Field[Any]]:
    """The fields of the dataclass `kind`, without the transient ones."""
    return [field for field in fields(kind) if "transient" not in field.metadata]


def field_paths(kind: type[Any]) -> dict[str, str]:
    """The attribute path of each stored field of the dataclass `kind`, by the field's name.

    A field that holds a dataclass is replaced by the fields of that dataclass: with `content:
    Content` in an entity, "title" leads to "content.title". Raises TypeError for a name that two
    fields have.
    """
    hints = get_type_hints(kind)
    paths: dict[str, str] = {}
    for field in stored_fields(kind):
        held = hints[field.name]
        found = (
            {name: f"{field.name}.{path}" for name, path in field_paths(held).items()}
            if isinstance(held, type) and is_dataclass(held)
            else {field.name: field.name}
        )
        if twice := paths.keys() & found.keys():
            raise TypeError(f"{kind.__name__} has two fields named {', '.join(sorted(twice))}")
        paths |= found
    return paths


def maker(kind: type[T], values: Mapping[str, str], **names: Any) -> Callable[[Any], T]:
    """A function of one argument, `it`, that makes a `kind`: each field by a Python expression.

    Compiled like the methods of dataclasses: as fast as written by hand, where keyword arguments
    out of a dictionary take twice as long. `names` are those that the expressions use.
    """
    arguments = ", ".join(f"{name}={value}" for name, value in values.items())
    names["_kind"] = kind
    made: Callable[[Any], T] = eval(  # noqa: S307  of the names of fields alone
        f"lambda it: _kind({arguments})", names
    )
    return made
