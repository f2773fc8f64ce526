"""The export of a user's data: what the concepts list in `EXPORTED`, batch by batch."""

from collections.abc import AsyncIterator, Mapping, Sequence

from application.concepts import modules
from application.ports.exports import Exports, Value
from domain.users import UserId
from infrastructure.database.driver.exported import Exported
from infrastructure.database.driver.statements import Database

BATCH = 20
"""Rows of a batch. The largest have 400 KB each."""


def exported() -> list[Exported]:
    """The sections of all concepts, in the order of the concepts."""
    return [
        section
        for module in modules("infrastructure.database")
        for section in getattr(module, "EXPORTED", ())
    ]


class SqlExports(Exports):
    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, user_id: UserId) -> AsyncIterator[tuple[str, Sequence[Mapping[str, Value]]]]:
        for section in exported():
            after, size = section.first, BATCH
            while size == BATCH:
                records = await self._database.fetch_long(
                    section.batch,
                    reader=user_id,
                    user=user_id,
                    subject=f"user:{user_id}",
                    after=after,
                    batch=BATCH,
                )
                yield (
                    section.name,
                    [dict(zip(section.fields, row, strict=True)) for _, *row in records],
                )
                size = len(records)
                after = records[-1][0] if records else after
