"""What all tables have in common: names of constraints, kinds of columns."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Dialect,
    Identity,
    Integer,
    MetaData,
    String,
    Table,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import TypeDecorator, TypeEngine
from sqlmodel import Field, SQLModel

from domain.errors import DomainError


class Row(SQLModel):
    """A row of a table. Rows describe the schema; statements and mappings do the rest."""

    unique: ClassVar[Mapping[str, type[DomainError]]] = {}
    """The error that a violated unique constraint of this table means, by the constraint's name. A
    violated foreign key means `AlreadyGone`, by the naming convention.
    """

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
        }
    )


def table(row: type[Row]) -> Table:
    """The Core table that `row` describes."""
    return row.metadata.tables[str(row.__tablename__)]


BigId = BigInteger().with_variant(Integer(), "sqlite")
"""64 bits. SQLite's own spelling, since only an INTEGER PRIMARY KEY can be its row id."""

IDS = ARRAY(BigInteger)
"""Many ids in one parameter; PostgreSQL alone has it."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Instant(TypeDecorator[datetime]):
    """A moment: timestamptz where there is one, else microseconds since 1970, UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return BigInteger() if dialect.name == "sqlite" else DateTime(timezone=True)

    # The processors, not process_bind_param: where there is nothing to convert, nothing is called.
    def bind_processor(self, dialect: Dialect) -> Any:
        return _to_microseconds if dialect.name == "sqlite" else None

    def result_processor(self, dialect: Dialect, _: object) -> Any:
        return _from_microseconds if dialect.name == "sqlite" else None


def _to_microseconds(moment: datetime | None) -> int | None:
    return None if moment is None else (moment - _EPOCH) // _MICROSECOND


def _from_microseconds(value: int | None) -> datetime | None:
    return None if value is None else _EPOCH + timedelta(microseconds=value)


class Json(TypeDecorator[Mapping[str, Any]]):
    """A mapping, as JSON text."""

    impl = String
    cache_ok = True

    def bind_processor(self, _: Dialect) -> Any:
        return _to_json

    def result_processor(self, _: Dialect, __: object) -> Any:
        return json.loads


def _to_json(value: Mapping[str, Any]) -> str:
    return json.dumps(dict(value))


def primary_key() -> Any:
    """A primary key that the database generates and never reuses."""
    return Field(default=None, sa_column=Column(BigId, Identity(always=False), primary_key=True))


def timestamp_column(**options: Any) -> Any:
    """A column of UTC timestamps; `options` are those of SQLModel's `Field`."""
    return Field(sa_type=Instant, **options)


def server_default(sql: str, **options: Any) -> Any:
    """A column with a default in the database, an SQL expression: rows that were there before the
    column get it too.
    """
    return Field(sa_column_kwargs={"server_default": text(sql)}, **options)


def reference(column: str, **options: Any) -> Any:
    """A foreign key; the row goes when what it refers to goes."""
    return Field(sa_type=BigId, foreign_key=column, ondelete="CASCADE", **options)
