"""Logging to stderr, one line for each event, formatted and written by a separate thread.

The thread writes lines in batches, a few times a second: waking it for each line would cost a
request more than authentication does. structlog formats the lines, in that thread. The measurements
are in docs/decisions/0016-logs-and-metrics.md.
"""

from __future__ import annotations

import atexit
import logging
import sys
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cached_property
from json import JSONEncoder
from threading import Event, Thread
from time import time
from typing import TYPE_CHECKING, Any, Literal

from application.ports.adapter import Reading
from infrastructure.redaction import redacted

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

Format = Literal["console", "json"]

_PAUSE = 0.05
"""Seconds between two writes."""

_TIME_BUDGET = 5.0
"""Seconds that a stopping process waits for the last lines to be written."""

LINES_MAX = 100_000
"""Lines that may wait to be written."""


class _Refused(logging.Filter):
    """Drops uvicorn's line about a request that is not HTTP: `protocol` logs its own."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith("Invalid HTTP request received")


def redact(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Redact secrets in fields, message and traceback, and drop fields that are None."""
    return redacted(event)


def _date(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    event["time"] = datetime.fromtimestamp(event["time"], UTC).isoformat()
    return event


def _clock(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    event["time"] = datetime.fromtimestamp(event["time"], UTC).astimezone().strftime("%H:%M:%S")
    return event


def processors(form: Format, *, colors: bool = False) -> Sequence[Processor]:
    """The structlog processors that turn an event into a line.

    An event has `time` (seconds), `level`, `message` and further fields.
    """
    # Imported for the first line, not at the start, because structlog.dev imports rich.
    from structlog.dev import ConsoleRenderer, plain_traceback
    from structlog.processors import JSONRenderer, format_exc_info

    prepared: list[Processor] = [format_exc_info, redact]
    if form == "json":
        # One encoder for all lines: json.dumps with `default` would make one for each.
        encode = JSONEncoder(default=repr).encode
        return [*prepared, _date, JSONRenderer(lambda event, **_: encode(event))]
    console = ConsoleRenderer(
        colors=colors,
        event_key="message",
        timestamp_key="time",
        exception_formatter=plain_traceback,  # the others show values of variables
        sort_keys=False,
        pad_event_to=0,
        pad_level=False,
    )
    return [*prepared, _clock, console]


class Logs(logging.Handler):
    """Writes lines to stderr, in order, with a delay of up to `_PAUSE`.

    `stop` writes the remaining lines. Later lines are written at once.
    """

    def __init__(self, form: Format) -> None:
        super().__init__()
        self.dropped = 0
        """Number of lines that were lost: the oldest of more than `LINES_MAX`, or not writable."""
        self._form = form
        # Bounded: when the reader of stderr hangs, the oldest lines are lost and memory is not.
        self._entries: deque[tuple[float, str, str, EventDict]] = deque(maxlen=LINES_MAX)
        self._awake = Event()
        self._stopping = Event()
        self._thread = Thread(target=self._write, name="logs", daemon=True)
        self._thread.start()

    def request(self, method: str, path: str, **fields: Any) -> None:
        """Log a request. This is the `AccessLog` of the API."""
        self._add((time(), "info", f"{method} {path}", fields))

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record of `logging`, with the fields in `extra={"fields": {...}}`."""
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001  wrong arguments must not break the caller
            message = str(record.msg)
        fields = getattr(record, "fields", {}) | {"exc_info": record.exc_info}
        self._add((record.created, record.levelname.lower(), message, fields))

    def readings(self) -> Sequence[Reading]:
        return (
            Reading(
                "counter",
                "gatepost_log_lines_dropped_total",
                "Log lines that were lost: too many waited, or stderr could not be written",
                lambda: self.dropped,
            ),
        )

    def stop(self) -> None:
        self._stopping.set()
        self._awake.set()
        self._thread.join(_TIME_BUDGET)

    def _add(self, entry: tuple[float, str, str, EventDict]) -> None:
        if len(self._entries) == LINES_MAX:
            self.dropped += 1
        self._entries.append(entry)
        if not self._awake.is_set():
            self._awake.set()
        if self._stopping.is_set() and not self._thread.is_alive():
            self._drain()

    def _write(self) -> None:
        while not self._stopping.is_set():
            self._awake.wait()
            self._stopping.wait(_PAUSE)
            self._awake.clear()
            self._drain()
        self._drain()

    def _drain(self) -> None:
        while self._entries:
            entries = [self._entries.popleft() for _ in range(len(self._entries))]
            try:
                sys.stderr.write("".join(f"{self._line(*entry)}\n" for entry in entries))
                sys.stderr.flush()
            except (OSError, ValueError):  # the disk is full, or stderr is closed
                self.dropped += len(entries)

    @cached_property
    def _processors(self) -> Sequence[Processor]:
        return processors(self._form, colors=sys.stderr.isatty())

    def _line(self, moment: float, level: str, message: str, fields: EventDict) -> str:
        event: Any = {"time": moment, "level": level, "message": message, **fields}
        try:
            for process in self._processors:
                event = process(None, level, event)
        except Exception as error:  # noqa: BLE001  one bad line must not end the thread
            return f"a log line was lost: {type(error).__name__}"
        return str(event)


def set_up_logs(form: Format) -> Logs:
    """Log to stderr from level INFO on, and from WARNING on for uvicorn."""
    logs = Logs(form)
    # No line shows what is looked up for these: docs.python.org/3/howto/logging.html#optimization.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # noqa: SLF001  as that page says
    # For a start that fails. A running service is stopped by a signal and calls `stop` itself.
    atexit.register(logs.stop)
    root = logging.getLogger()
    root.handlers = [logs]
    root.setLevel(logging.INFO)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").addFilter(_Refused())
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # its warnings are 422 responses
    return logs
