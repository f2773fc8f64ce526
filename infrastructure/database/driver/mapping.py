"""Entities and rows: each field of an entity is stored in the column of its name."""

from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from enum import Enum
from itertools import count
from operator import attrgetter
from typing import Any, ClassVar, Generic, Protocol, TypeVar, get_type_hints

from sqlalchemy import Delete, Select, Update, bindparam, delete, insert, select, update

from domain.errors import DomainError, Stale
from domain.fields import field_paths, maker, stored_fields
from infrastructure.database.driver.lookups import Lookup, Part
from infrastructure.database.driver.rows import Row, table
from infrastructure.database.driver.statements import Database, Record, Transaction

E = TypeVar("E")


class Mapping(Generic[E]):
    """How the entities of a dataclass are stored in the table of a row class.

    A field that holds a dataclass is stored by the fields of that dataclass. Raises TypeError, at
    import, for a field that has no column.
    """

    def __init__(self, row: type[Row], entity: type[E]) -> None:
        self.table, paths = table(row), field_paths(entity)
        columns = self.table.c
        for name in paths:
            if name not in columns:
                raise TypeError(f"{row.__name__} has no column for {entity.__name__}.{name}")
        self.columns = tuple(columns[name] for name in paths)
        self._names, self._read = tuple(paths), attrgetter(*paths.values())
        names: dict[str, Any] = {}
        self.of: Callable[[Record], E] = maker(entity, _values(entity, count(), names), **names)
        """The entity in a record that begins with `columns`."""

        key = [column == bindparam(column.name) for column in self.table.primary_key]
        version = [columns.version] if "version" in paths else []
        fixed = [c.name for c in columns if c.primary_key or c.foreign_keys]
        given: dict[Any, Any] = {
            column: bindparam(column.name)
            for column in columns
            if column.name in paths or column.server_default is None
        }
        unnumbered = {column: bind for column, bind in given.items() if column.identity is None}
        self.insert = insert(self.table).values(unnumbered).returning(*self.table.primary_key)
        """Needs a value for each field and for each other column without a default in the
        database. Returns the id that the database generates.
        """
        self.insert_numbered = insert(self.table).values(given).returning(*self.table.primary_key)
        """As `insert`, with an id that was taken from the sequence before."""
        self.locked = select(*self.columns).where(*key).with_for_update()
        self.update = (
            update(self.table)
            .values({c: bindparam(c.name) for c in self.columns if c.name not in fixed})
            .where(*key, *(c == bindparam(c.name) - 1 for c in version))
            .returning(*self.table.primary_key)
        )
        """Sets all fields except the key and references. If there is a `version`, it updates only
        the row with the previous version.
        """
        self.delete = (
            delete(self.table)
            .where(*key, *(c == bindparam(c.name) for c in version))
            .returning(*self.table.primary_key)
        )
        """If there is a `version`, it deletes only the row with the same version."""

    def values(self, entity: E) -> dict[str, Any]:
        """The fields' values, by column."""
        return dict(zip(self._names, self._read(entity), strict=True))


def _values(kind: type[Any], places: Iterator[int], names: dict[str, Any]) -> dict[str, str]:
    """For each field of `kind`, the Python expression of its value in the record `it`."""
    hints, values = get_type_hints(kind), {}
    for field in stored_fields(kind):
        hint = hints[field.name]
        if isinstance(hint, type) and is_dataclass(hint):
            held = _values(hint, places, names)
            value = ", ".join(f"{name}={value}" for name, value in held.items())
        else:
            value = f"it[{next(places)}]"
        if isinstance(hint, type) and (is_dataclass(hint) or issubclass(hint, Enum)):
            names[hint.__name__] = hint
            value = f"{hint.__name__}({value})"
        values[field.name] = value
    return values


class Entity(Protocol):
    @property
    def id(self) -> int: ...


EntityT = TypeVar("EntityT", bound=Entity)
EntityT_co = TypeVar("EntityT_co", bound=Entity, covariant=True)


class New(Protocol[EntityT_co]):
    """A value that becomes an entity when it gets an id."""

    def stored_as(self, id_: int, /) -> EntityT_co: ...


class VersionedTransaction(Transaction, Protocol):
    """A transaction in which nobody else changes a row between its `find` and its `change`: the
    row is locked, or the change is guarded by its version and a lost race is a
    `SerializationFailure`.
    """

    async def find(
        self, lookup: Callable[[Database], Lookup], locking: Select[Any], **key: Part
    ) -> Record | None:
        """The record with this key, by a `lookup` that all units of work share or, where the row
        has to be locked, by the statement `locking`.
        """
        ...

    async def change(
        self, clause: Update | Delete, stale: type[DomainError], **values: Any
    ) -> None:
        """Run a `clause` that returns the row that it changed. Raises `stale` if there is none."""
        ...


class Repository(Generic[EntityT]):
    """Adds, gets, saves and removes the entities of `mapping` in a transaction."""

    mapping: ClassVar[Mapping[Any]]
    stale: ClassVar[type[DomainError]] = Stale
    """Raised if the row to save or remove was deleted or has another version."""

    def __init__(self, transaction: VersionedTransaction) -> None:
        self._transaction = transaction

    async def add(self, new: New[EntityT]) -> EntityT:
        values = self.mapping.values(new.stored_as(0))
        del values["id"]
        return new.stored_as(await self._transaction.add(self.mapping.insert_numbered, **values))

    async def get(self, id_: int) -> EntityT | None:
        """The entity, locked for other units of work until this one ends."""
        records = await self._transaction.fetch(self.mapping.locked, id=id_)
        return self.mapping.of(records[0]) if records else None

    async def save(self, entity: EntityT) -> None:
        values = self.mapping.values(entity)
        await self._transaction.change(self.mapping.update, self.stale, **values)

    async def remove(self, entity: EntityT) -> None:
        values = self.mapping.values(entity)
        await self._transaction.change(self.mapping.delete, self.stale, **values)
