"""The base of all rows: naming of constraints, and types of columns."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache
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
    """A row of a table. Row classes only describe the schema: no instances are made."""

    unique: ClassVar[Mapping[str, type[DomainError]]] = {}
    """The errors that violated unique constraints of this table mean, by the constraint's name.
    Violated foreign keys mean `AlreadyGone`; the naming convention tells them apart.
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
"""64 bits. On SQLite INTEGER, because only an INTEGER PRIMARY KEY is the row id."""

IDS = ARRAY(BigInteger)
"""Many ids in one parameter, on PostgreSQL only."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Instant(TypeDecorator[datetime]):
    """A UTC timestamp: timestamptz on PostgreSQL, microseconds since 1970 on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return BigInteger() if dialect.name == "sqlite" else DateTime(timezone=True)

    # Processors instead of process_bind_param: PostgreSQL needs no conversion, so no call is made.
    def bind_processor(self, dialect: Dialect) -> Any:
        return _to_microseconds if dialect.name == "sqlite" else None

    def result_processor(self, dialect: Dialect, _: object) -> Any:
        return _from_microseconds if dialect.name == "sqlite" else None


def _to_microseconds(moment: datetime | None) -> int | None:
    return None if moment is None else (moment - _EPOCH) // _MICROSECOND


def _from_microseconds(value: int | None) -> datetime | None:
    return None if value is None else _EPOCH + timedelta(microseconds=value)


class Json(TypeDecorator[Mapping[str, Any]]):
    """A mapping that is stored as JSON text."""

    impl = String
    cache_ok = True

    def bind_processor(self, _: Dialect) -> Any:
        return _to_json

    def result_processor(self, _: Dialect, __: object) -> Any:
        return json.loads


def _to_json(value: Mapping[str, Any]) -> str:
    return json.dumps(dict(value)) if value else "{}"


class Words(TypeDecorator[tuple[StrEnum, ...]]):
    """Members of an enumeration, stored as their values with spaces between them."""

    impl = String
    cache_ok = True

    def __init__(self, kind: type[StrEnum]) -> None:
        super().__init__()
        self.kind = kind

    def bind_processor(self, _: Dialect) -> Any:
        return " ".join

    def result_processor(self, _: Dialect, __: object) -> Any:
        # A newer release, or code that was removed since, stored the unknown words.
        known = {member.value: member for member in self.kind}
        # Cached, because a table has few combinations and each request reads one.
        return cache(lambda text: tuple(known[word] for word in text.split() if word in known))


def primary_key() -> Any:
    """A primary key that the database generates and never reuses."""
    return Field(default=None, sa_column=Column(BigId, Identity(always=False), primary_key=True))


def timestamp_column(**options: Any) -> Any:
    """A column of UTC timestamps; `options` are those of SQLModel's `Field`."""
    return Field(sa_type=Instant, **options)


def server_default(sql: str, **options: Any) -> Any:
    """A column with a default in the database, given as an SQL expression. Rows from before the
    column was added get the default too.
    """
    return Field(sa_column_kwargs={"server_default": text(sql)}, **options)


def reference(column: str, **options: Any) -> Any:
    """A foreign key. Deleting the referenced row deletes this row too."""
    return Field(sa_type=BigId, foreign_key=column, ondelete="CASCADE", **options)
