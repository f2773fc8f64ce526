"""Where log lines go: one line an event, on stderr, made and written by a thread of its own.

The thread wakes a few times a second at the most and then writes all that has come: handing it each
line by itself would cost a request more than resolving its user does. What makes a line of an event
is structlog's, in that thread: docs/decisions/0016-logs-and-metrics.md has the measurements.
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
"""Seconds that a process which ends waits for a reader of stderr."""

LINES_MAX = 100_000


class _Refused(logging.Filter):
    """Drops uvicorn's line about a request that is not HTTP: `protocol` has one of its own."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith("Invalid HTTP request received")


def redact(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Hide secrets in fields, message and traceback; leave out what nothing is known of."""
    return redacted(event)


def _date(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    event["time"] = datetime.fromtimestamp(event["time"], UTC).isoformat()
    return event


def _clock(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    event["time"] = datetime.fromtimestamp(event["time"], UTC).astimezone().strftime("%H:%M:%S")
    return event


def processors(form: Format, *, colors: bool = False) -> Sequence[Processor]:
    """What makes a line of an event: its `time` (seconds), `level`, `message` and fields."""
    # Imported with the first line, and so after the start: it imports all of rich.
    from structlog.dev import ConsoleRenderer, plain_traceback
    from structlog.processors import JSONRenderer, format_exc_info

    prepared: list[Processor] = [format_exc_info, redact]
    if form == "json":
        # One encoder: json.dumps with arguments of its own makes one for each line.
        encode = JSONEncoder(default=repr).encode
        return [*prepared, _date, JSONRenderer(lambda event, **_: encode(event))]
    console = ConsoleRenderer(
        colors=colors,
        event_key="message",
        timestamp_key="time",
        exception_formatter=plain_traceback,  # others show the values of variables
        sort_keys=False,
        pad_event_to=0,
        pad_level=False,
    )
    return [*prepared, _clock, console]


class Logs(logging.Handler):
    """Writes lines to stderr in order, a moment later. `stop` writes those that are left; what
    comes after it is written at once.
    """

    def __init__(self, form: Format) -> None:
        super().__init__()
        self.dropped = 0
        """Lines that came when `LINES_MAX` others waited, each at the cost of the oldest."""
        self._form = form
        # Bounded: a reader of stderr that hangs costs us the oldest lines, not the memory.
        self._entries: deque[tuple[float, str, str, EventDict]] = deque(maxlen=LINES_MAX)
        self._awake = Event()
        self._stopping = Event()
        self._thread = Thread(target=self._write, name="logs", daemon=True)
        self._thread.start()

    def request(self, method: str, path: str, **fields: Any) -> None:
        """A line about a request that was answered."""
        self._add((time(), "info", f"{method} {path}", fields))

    def emit(self, record: logging.LogRecord) -> None:
        """A line about anything else, by the way of `logging`; with `extra={"fields": {...}}`."""
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001  arguments that do not fit must not break what logs
            message = str(record.msg)
        fields = getattr(record, "fields", {}) | {"exc_info": record.exc_info}
        self._add((record.created, record.levelname.lower(), message, fields))

    def readings(self) -> Sequence[Reading]:
        return (
            Reading(
                "counter",
                "gatepost_log_lines_dropped_total",
                "Log lines that could not be written, or not in time",
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
            except (OSError, ValueError):  # a full disk, or nobody who reads
                self.dropped += len(entries)

    @cached_property
    def _processors(self) -> Sequence[Processor]:
        return processors(self._form, colors=sys.stderr.isatty())

    def _line(self, moment: float, level: str, message: str, fields: EventDict) -> str:
        event: Any = {"time": moment, "level": level, "message": message, **fields}
        try:
            for process in self._processors:
                event = process(None, level, event)
        except Exception as error:  # noqa: BLE001  one line that can't be made must not be the last
            return f"a log line was lost: {type(error).__name__}"
        return str(event)


def set_up_logs(form: Format) -> Logs:
    """Send all that is logged from INFO on (uvicorn: from WARNING on) to stderr."""
    logs = Logs(form)
    # For a start that fails; one that succeeds ends by a signal, and then nothing is left to exit.
    atexit.register(logs.stop)
    root = logging.getLogger()
    root.handlers = [logs]
    root.setLevel(logging.INFO)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").addFilter(_Refused())
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # warns of what is answered: 422
    return logs
