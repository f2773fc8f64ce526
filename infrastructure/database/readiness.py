"""Whether the database can serve."""

import asyncio
from contextvars import Context

from application.outages import DatabaseUnavailable
from infrastructure.database import schema
from infrastructure.database.driver.statements import Database

HOLDS = 0.5
"""Seconds that what was seen answers all who ask."""


class Readiness:
    """Looks at the database once for all who ask within `HOLDS` seconds: anybody may ask."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._look: asyncio.Task[list[str]] | None = None
        self._began = 0.0

    async def __call__(self) -> list[str]:
        """The names of the parts that are down."""
        loop = asyncio.get_running_loop()
        if self._look is None or loop.time() - self._began >= HOLDS:
            self._began = loop.time()
            # In no request's context, and not cancelled with a request: others ask for it too.
            self._look = loop.create_task(self._trouble(), context=Context())
        return list(await asyncio.shield(self._look))

    async def _trouble(self) -> list[str]:
        try:
            stored = await schema.revision(self._database)
            await self._database.check()
        except schema.ForeignSchema:
            return ["migrations"]
        except DatabaseUnavailable:
            return ["database"]
        return [] if schema.serves(stored) else ["migrations"]
