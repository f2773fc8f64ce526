"""Fields of dataclasses by name, so that what follows from a field need not name it again."""

from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints


def field_paths(kind: type[Any]) -> dict[str, str]:
    """The attribute path of each field of the dataclass `kind`, by the field's name.

    A field that holds a dataclass is replaced by the fields of that dataclass: with `content:
    PostContent` in `Post`, "title" leads to "content.title". Raises TypeError for a name that two
    fields have.
    """
    hints = get_type_hints(kind)
    paths: dict[str, str] = {}
    for field in fields(kind):
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
