"""Rows on dictionaries, with what databases do about references.

A field whose type is the id of an entity refers to that entity: `user_id: UserId` in a row refers
to a `User`. A row that refers to nothing is refused, and goes with what it refers to.
"""

from copy import deepcopy
from dataclasses import fields
from typing import Any, NewType, Self, TypeVar, get_type_hints

from domain.errors import AlreadyGone

T = TypeVar("T")


def id_types(kind: type[Any]) -> dict[str, object]:
    """The fields of `kind` that are ids of entities, its own `id` among them."""
    hints = get_type_hints(kind)
    types = {field.name: hints[field.name] for field in fields(kind)}
    return {
        name: hint
        for name, hint in types.items()
        if isinstance(hint, NewType) and hint.__supertype__ is int
    }


class Tables:
    """A table for each dataclass that is stored."""

    def __init__(self) -> None:
        self._tables: dict[type[Any], dict[Any, Any]] = {}

    def copy(self) -> Self:
        copied = type(self)()
        copied._tables = {kind: dict(rows) for kind, rows in self._tables.items()}
        return copied

    def rows(self, kind: type[T]) -> dict[Any, T]:
        """The rows of `kind` by key, the oldest first. Rows are replaced and never changed."""
        return self._tables.setdefault(kind, {})

    def put(self, key: object, row: object) -> None:
        """Store a copy of `row`, whose key is its id if it has one.

        Raises `AlreadyGone` if it refers to a row that is not there.
        """
        for name, id_type in id_types(type(row)).items():
            if name != "id" and not self._has(id_type, getattr(row, name)):
                raise AlreadyGone
        self.rows(type(row))[key] = deepcopy(row)

    def remove(self, kind: type[Any], key: object) -> None:
        """Remove the row, if it is there, and the rows that refer to it."""
        if self.rows(kind).pop(key, None) is None or "id" not in id_types(kind):
            return
        for other, rows in list(self._tables.items()):
            for name, id_type in id_types(other).items():
                if name != "id" and id_type is id_types(kind)["id"]:
                    for found in [k for k, row in rows.items() if getattr(row, name) == key]:
                        self.remove(other, found)

    def _has(self, id_type: object, key: object) -> bool:
        return any(
            key in rows
            for kind, rows in self._tables.items()
            if id_types(kind).get("id") is id_type
        )
