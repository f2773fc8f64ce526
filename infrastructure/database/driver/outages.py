"""Outages of a database: what is logged and what is raised.

docs/decisions/0017-outages.md and 0027-breaker.md have the reasons.
"""

import logging
from collections.abc import Callable
from time import monotonic
from types import TracebackType

from application.outages import DatabaseUnavailable, OutcomeUnknown, TakesNoChanges

_CALM = 1.0
"""Seconds without a failure after which an answer ends an outage."""

log = logging.getLogger("gatepost.database")
log.addHandler(logging.NullHandler())  # a command without logs prints its own error


class Outage:
    """Logs once that something fails and once that it works again, however many requests see it."""

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


class Failures:
    """A reusable context for calls to one database: raises domain errors in place of the driver's,
    and logs outages.

    `translated` returns the error to raise, or None to leave the driver's error as it is.
    """

    def __init__(
        self,
        translated: Callable[[BaseException], Exception | None],
        name: str = "the database",
    ) -> None:
        self._translated = translated
        self.outage = Outage(f"{name} does not answer", f"{name} answers again")
        self.writes = Outage(f"{name} takes no changes", f"{name} takes changes again")

    def __enter__(self) -> None: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            if self.outage.is_on:
                self.outage.answered()
            return
        ours = self._translated(error)
        if ours is None:
            self._note(error)
            return
        ours.__cause__ = error
        self._note(ours)
        raise ours

    def _note(self, error: BaseException) -> None:
        reason = error.__cause__ or error
        if isinstance(error, (TakesNoChanges, OutcomeUnknown)):
            self.writes.failed(reason)
        elif type(error) is DatabaseUnavailable:
            self.outage.failed(reason)
