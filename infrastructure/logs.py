"""Where log lines go: one line an event, on stderr, made and written by a thread of its own.

The thread wakes a few times a second at the most and then writes all that has come: handing it each
line by itself would cost a request more than resolving its user does.
"""

import json
import logging
import sys
from collections import deque
from datetime import UTC, datetime
from threading import Event, Thread
from time import time
from typing import Any, Literal

_PAUSE = 0.05
"""Seconds between two writes."""

_Fields = dict[str, Any]


def _console(moment: float, level: str, message: str, fields: _Fields) -> str:
    """For people."""
    clock = datetime.fromtimestamp(moment, UTC).astimezone().strftime("%H:%M:%S")
    details = " ".join(f"{name}={value}" for name, value in fields.items() if value is not None)
    return f"{clock} {level:<7} {message}  {details}".rstrip()


def _json(moment: float, level: str, message: str, fields: _Fields) -> str:
    """For machines: a JSON object a line."""
    line = {
        "time": datetime.fromtimestamp(moment, UTC).isoformat(),
        "level": level,
        "message": message,
    }
    return json.dumps(line | {name: value for name, value in fields.items() if value is not None})


class Logs(logging.Handler):
    """Writes lines to stderr in order, a moment later. `stop` writes those that are left."""

    def __init__(self, form: Literal["console", "json"]) -> None:
        super().__init__()
        self._line = _json if form == "json" else _console
        # Bounded: a reader of stderr that hangs costs us the oldest lines, not the memory.
        self._entries: deque[tuple[float, str, str, _Fields]] = deque(maxlen=100_000)
        self._awake = Event()
        self._stopping = Event()
        self._thread = Thread(target=self._write, name="logs", daemon=True)
        self._thread.start()

    def request(self, method: str, path: str, **fields: Any) -> None:
        """A line about a request that was answered."""
        self._add((time(), "info", f"{method} {path}", fields))

    def emit(self, record: logging.LogRecord) -> None:
        """A line about anything else, by the way of `logging`; with `extra={"fields": {...}}`."""
        fields = getattr(record, "fields", {})
        self._add((record.created, record.levelname.lower(), self.format(record), fields))

    def stop(self) -> None:
        self._stopping.set()
        self._awake.set()
        self._thread.join()

    def _add(self, entry: tuple[float, str, str, _Fields]) -> None:
        self._entries.append(entry)
        if not self._awake.is_set():
            self._awake.set()

    def _write(self) -> None:
        while not self._stopping.is_set():
            self._awake.wait()
            self._stopping.wait(_PAUSE)
            self._awake.clear()
            while self._entries:
                entries = [self._entries.popleft() for _ in range(len(self._entries))]
                sys.stderr.write("".join(f"{self._line(*entry)}\n" for entry in entries))
            sys.stderr.flush()


def set_up_logs(form: Literal["console", "json"]) -> Logs:
    """Send all that is logged from INFO on (uvicorn: from WARNING on) to stderr."""
    logs = Logs(form)
    root = logging.getLogger()
    root.handlers = [logs]
    root.setLevel(logging.INFO)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    return logs
