"""Which columns of a table are exported to the user whom its rows belong to."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Integer, String, bindparam, select

from infrastructure.database.driver.rows import BigId


class Exported:
    """A section of the export, listed in `EXPORTED` of its concept's module.

    `columns` are shown, in this order: never a secret or the hash of one. `owned` is the condition
    for the user's rows, with the parameters `user` (their id) and `subject` (as events name them).
    `key` tells the user's rows apart and orders them.
    """

    def __init__(
        self,
        name: str,
        columns: Sequence[Column[Any]],
        *,
        owned: ColumnElement[bool],
        key: Column[Any],
    ) -> None:
        self.name = name
        self.table = key.table
        self.fields = tuple(column.name for column in columns)
        self.first: int | str = -1 if isinstance(key.type, Integer) else ""
        """A key before all others."""
        self.batch = (
            select(key.label("key"), *columns)
            .where(owned, key > bindparam("after", type_=key.type))
            .order_by(key)
            .limit(bindparam("batch", type_=BigId))
        )


OWNER = bindparam("user", type_=BigId)
SUBJECT = bindparam("subject", type_=String())
