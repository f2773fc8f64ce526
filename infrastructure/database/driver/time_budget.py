"""Nobody waits for the database for longer than they can, and the log says when it is away.

docs/decisions/0017-outages.md has the reasons and the measurements.
"""

import logging
import math
from collections.abc import Callable
from time import monotonic
from types import TracebackType

from application.time_budget import DB_TIME_SPENT
from infrastructure.database.driver.statements import (
    DatabaseUnavailable,
    OutcomeUnknown,
    TakesNoChanges,
)

_CALM = 1.0
"""Seconds without a failure after which an answer ends an outage."""

log = logging.getLogger("gatepost.database")
log.addHandler(logging.NullHandler())  # a command without logs says by itself what is wrong


class Outage:
    """Says once that something fails and once that it works again, however many requests see it."""

    def __init__(self, begins: str, ends: str) -> None:
        self._begins = begins
        self._ends = ends
        self._since = 0.0
        self._last = 0.0
        self.is_on = False

    def failed(self, error: BaseException) -> None:
        self._last = monotonic()
        if not self.is_on:
            self.is_on = True
            self._since = self._last
            reason = str(error).partition("\n")[0]
            name = type(error).__name__
            log.warning("%s: %s", self._begins, f"{name}: {reason}" if reason else name)

    def answered(self) -> None:
        now = monotonic()
        if self.is_on and now - self._last > _CALM:
            self.is_on = False
            log.warning("%s after %.1f s", self._ends, now - self._since)


class TimeBudget:
    """Of those who ask one database: `timeout` seconds, for all turns of a request together.

    `translated` gives the error that is raised in place of the driver's, or None to leave it.
    """

    def __init__(
        self,
        timeout: float,
        translated: Callable[[BaseException], Exception | None],
        name: str = "the database",
    ) -> None:
        self.timeout = timeout
        self.translated = translated
        self.outage = Outage(f"{name} does not answer", f"{name} answers again")
        self.writes = Outage(f"{name} takes no changes", f"{name} takes changes again")

    def failed(self, error: BaseException) -> None:
        """What was raised, in our terms, because of `error`."""
        reason = error.__cause__ or error
        if isinstance(error, (TakesNoChanges, OutcomeUnknown)):
            self.writes.failed(reason)
        elif type(error) is DatabaseUnavailable:
            self.outage.failed(reason)

    def turn(self, most: float = math.inf) -> "Deadline":
        """A turn that takes `most` seconds at the most."""
        return Deadline(self, most)


class Deadline:
    """Encloses all that waits for the database in one call, and raises in our terms."""

    __slots__ = ("_began", "_patience", "_until", "_waited")

    def __init__(self, patience: TimeBudget, most: float) -> None:
        self._patience = patience
        self._waited = DB_TIME_SPENT.get()
        self._began = monotonic()
        self._until = self._began + min(most, patience.timeout - (self._waited or 0.0))

    @property
    def left(self) -> float:
        """Seconds. Raises TimeoutError when there are none."""
        left = self._until - monotonic()
        if left <= 0:
            raise TimeoutError("the request has no more time")
        return left

    @property
    def is_unused(self) -> bool:
        """Whether next to nothing of the request's patience is used up."""
        return not self._waited or self._waited < self._patience.timeout / 16

    def __enter__(self) -> "Deadline":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._waited is not None:
            DB_TIME_SPENT.set(self._waited + monotonic() - self._began)
        if error is None:
            if self._patience.outage.is_on:
                self._patience.outage.answered()
            return
        ours = self._patience.translated(error)
        if ours is None:
            self._patience.failed(error)
            return
        ours.__cause__ = error
        self._patience.failed(ours)
        raise ours
