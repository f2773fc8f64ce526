"""Places for reads that may take their time, so that they keep nobody else waiting."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class LongReads:
    """At most `places` run at the same time, and at most `per_reader` of one user. Others wait, for
    as long as the timeout around them allows.
    """

    def __init__(self, places: int, *, per_reader: int) -> None:
        self._free = asyncio.Semaphore(places)
        self._per_reader = per_reader
        self._readers: dict[int, _Reader] = {}

    @asynccontextmanager
    async def place(self, reader: int | None) -> AsyncIterator[None]:
        """A place for a read of this user; None: of nobody in particular."""
        if reader is None:
            async with self._free:
                yield
            return
        own = self._readers.setdefault(reader, _Reader(self._per_reader))
        own.reads += 1
        try:
            async with own.free, self._free:
                yield
        finally:
            own.reads -= 1
            if not own.reads:
                del self._readers[reader]


class _Reader:
    """Somebody with reads under way or waiting."""

    def __init__(self, places: int) -> None:
        self.reads = 0
        self.free = asyncio.Semaphore(places)
