"""Where log lines go: one line an event, on stderr, written by a thread of its own."""

import json
import logging
from datetime import UTC, datetime
from logging.handlers import QueueHandler, QueueListener
from queue import SimpleQueue
from typing import Literal

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
        return json.dumps(line | {name: value for name, value in fields.items() if value})


def set_up_logs(form: Literal["console", "json"]) -> QueueListener:
    """Send every log line from INFO on to stderr. `stop` the answer to have the last ones written."""
    writer = logging.StreamHandler()
    writer.setFormatter(_JsonFormatter() if form == "json" else _ConsoleFormatter())
    queue: SimpleQueue[logging.LogRecord] = SimpleQueue()
    root = logging.getLogger()
    root.handlers = [QueueHandler(queue)]
    root.setLevel(logging.INFO)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    listener = QueueListener(queue, writer)
    listener.start()
    return listener
