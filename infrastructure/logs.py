"""Where log lines go: one line an event, on stderr, written by a thread of its own.

The thread is woken a few times a second at the most and then writes all that has come: handing it
each line by itself would cost a request more than resolving its user does.
"""

import json
import logging
import sys
from collections import deque
from datetime import UTC, datetime
from threading import Event, Thread
from typing import Literal

_PAUSE = 0.05
"""Seconds between two writes."""

_FIELDS = ("status", "duration_ms", "request_id", "user_id", "email")


class _ConsoleFormatter(logging.Formatter):
    """For people."""

    def format(self, record: logging.LogRecord) -> str:
        given = record.__dict__
        time = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        line = f"{time} {record.levelname:<7} {record.getMessage()}"
        if "status" in given:
            line += f" {given['status']} {given['duration_ms']} ms"
            line += f" {given['email'] or given['user_id'] or '-'}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class _JsonFormatter(logging.Formatter):
    """For machines: a JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields = {name: record.__dict__.get(name) for name in _FIELDS}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(line | {name: value for name, value in fields.items() if value})


class LogWriter(logging.Handler):
    """Writes lines to stderr in order, a moment later. `stop` writes those that are left."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        # Bounded: a reader of stderr that hangs costs us the oldest lines, not the memory.
        self._lines: deque[str] = deque(maxlen=100_000)
        self._awake = Event()
        self._stopping = Event()
        self._thread = Thread(target=self._write, name="log-writer", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(self.format(record) + "\n")
        if not self._awake.is_set():
            self._awake.set()

    def stop(self) -> None:
        self._stopping.set()
        self._awake.set()
        self._thread.join()

    def _write(self) -> None:
        while not self._stopping.is_set():
            self._awake.wait()
            self._stopping.wait(_PAUSE)
            self._awake.clear()
            while self._lines:
                # One write a line would give the GIL away for each.
                some = [self._lines.popleft() for _ in range(len(self._lines))]
                sys.stderr.write("".join(some))
            sys.stderr.flush()


def set_up_logs(form: Literal["console", "json"]) -> LogWriter:
    """Send all log lines from INFO on to stderr."""
    writer = LogWriter(_JsonFormatter() if form == "json" else _ConsoleFormatter())
    root = logging.getLogger()
    root.handlers = [writer]
    root.setLevel(logging.INFO)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    # What no line shows need not be found out ("Optimization" in Python's logging HOWTO).
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    return writer
