"""SQL that is written once with SQLAlchemy Core and only run from then on.

Building and compiling a Core statement costs more than running it, and so does the way through
SQLAlchemy's connections (docs/decisions/0002-core-on-the-driver.md has the figures): so statements
are module constants, compiled once a dialect, and run on the driver itself.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from sqlalchemy import Delete, Dialect, Insert, Select, Update

from application.ports.adapter import Reading

Record = Sequence[Any]
"""One row of an answer, columns in the statement's order."""

INSERTED = "inserted"
"""The name by which a statement reads the row that the one before it has inserted."""

Change = Insert | Update | Delete
Clause = Select[Any] | Change
_Processor = Callable[[Any], Any] | None


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    convert: _Processor
    constant: Any
    """The value that the statement itself gives it; `GIVEN` when the caller does."""


GIVEN = object()


@dataclass(frozen=True, slots=True)
class Compiled:
    """A statement in one database's SQL."""

    sql: str
    parameters: tuple[Parameter, ...]
    """In the order of the SQL's placeholders."""
    conversions: tuple[tuple[int, Callable[[Any], Any]], ...]
    """Of the columns that need one, by their place."""

    def arguments(self, values: Mapping[str, Any]) -> list[Any]:
        """The driver's arguments. Raises KeyError for a parameter without a value."""
        arguments = []
        for parameter in self.parameters:
            value = parameter.constant
            if value is GIVEN:
                value = values[parameter.name]
            arguments.append(parameter.convert(value) if parameter.convert else value)
        return arguments

    def converted(self, rows: Sequence[Record]) -> Sequence[Record]:
        if not self.conversions:
            return rows
        records = [list(row) for row in rows]
        for record in records:
            for place, convert in self.conversions:
                record[place] = convert(record[place])
        return records


@cache
def compiled(clause: Clause, dialect: Dialect) -> Compiled:
    """`clause` in `dialect`'s SQL. It is cached for the life of the process: pass module constants
    and cached clauses only.
    """
    statement = clause.compile(dialect=dialect)
    parameters = []
    for name in statement.positiontup or ():
        bind = statement.binds[name]
        convert = bind.type.dialect_impl(dialect).bind_processor(dialect)
        constant = GIVEN if bind.required else statement.params[name]
        parameters.append(Parameter(name, convert, constant))
    processors = (
        column.type.dialect_impl(dialect).result_processor(dialect, None)
        for column in clause.exported_columns
    )
    conversions = [(place, convert) for place, convert in enumerate(processors) if convert]
    return Compiled(str(statement), tuple(parameters), tuple(conversions))


class ConstraintViolated(Exception):
    """The database refused a change. `name` is the constraint's, by the naming convention."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(name)


class Transaction(Protocol):
    """Statements that last together or not at all; the first one takes the connection."""

    async def fetch(self, clause: Clause, **values: Any) -> Sequence[Record]:
        """Run `clause`; its rows, if it returns any. Raises `ConstraintViolated`."""
        ...

    async def add(self, clause: Insert, **values: Any) -> int:
        """Defer `clause`, which takes an `id`; the id that it gets."""
        ...

    def defer(
        self,
        clause: Change,
        *,
        guarded: bool = False,
        then: Insert | None = None,
        **values: Any,
    ) -> None:
        """Run a `clause` whose answer nobody needs before the next statement, or with the commit.
        That call raises `ConstraintViolated`, and `SerializationFailure` if the clause is `guarded`
        and returns no row.

        `then` runs right after a `clause` that inserts a row. It has no parameters: it selects from
        a table `INSERTED`, which has the columns that the clause returns.
        """
        ...

    async def commit(self) -> None: ...


class Reader(Protocol):
    """Runs statements. Raises `DatabaseUnavailable` if the database does not answer."""

    async def fetch(self, clause: Clause, **values: Any) -> Sequence[Record]:
        """Run a reading `clause` by itself: one round trip, no transaction."""
        ...


class Database(Reader, Protocol):
    """A database and its connections. All of it raises `DatabaseUnavailable` when it is that."""

    dialect: Dialect
    is_remote: bool
    """Whether an answer takes a round trip, so that sharing one pays."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def readings(self) -> Sequence[Reading]:
        """The values that metrics show."""
        return ()

    async def fetch_long(
        self, clause: Clause, *, reader: int | None = None, **values: Any
    ) -> Sequence[Record]:
        """The same for a `clause` that may take its time, which must not hold up the others.

        `reader` is the user who asks: a few long reads of one user run at the same time.
        """
        ...

    async def listen(self, channel: str, heard: Callable[[], None]) -> None:  # noqa: ARG002  for others
        """Call `heard` whenever a process notifies `channel`, until cancelled.

        Returns at once where there are no notifications.
        """
        return

    async def check(self) -> None:
        """Raises `TakesNoChanges`, as far as that can be told without one."""
        ...

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Leaving it without commit undoes what was done in it."""
        ...
