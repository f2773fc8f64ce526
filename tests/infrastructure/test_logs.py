"""Log lines: their content, their order, and lost lines."""

import io
import json
import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from threading import Event
from typing import Any

import pytest

from infrastructure.logs import LINES_MAX, Format, Logs

ANSWERED: dict[str, Any] = {
    "route": "/posts/{post_id}",
    "status": 200,
    "duration_ms": 1.3,
    "request_id": "r-1",
    "user_id": 7,
    "email": None,
}


class Written:
    """Logs that write into memory, a logger that logs to them, and the lines."""

    def __init__(self, form: Format, stderr: io.StringIO) -> None:
        self.logs = Logs(form)
        self.logger = logging.Logger("gatepost.tests")  # noqa: LOG001  one that nobody else has
        self.logger.addHandler(self.logs)
        self._stderr = stderr

    def lines(self) -> list[str]:
        self.logs.stop()
        return self._stderr.getvalue().splitlines()

    def line(self) -> dict[str, Any]:
        (line,) = self.lines()
        fields: dict[str, Any] = json.loads(line)
        return fields


@contextmanager
def written(form: Format = "json", stderr: io.StringIO | None = None) -> Iterator[Written]:
    with redirect_stderr(stderr or io.StringIO()) as stream:
        it = Written(form, stream)
        yield it
        it.logs.stop()


def test_in_json_a_request_is_an_object_without_null_members() -> None:
    with written() as it:
        it.logs.request("GET", "/posts/7", **ANSWERED)
        line = it.line()

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00", line.pop("time"))
    assert line == {
        "level": "info",
        "message": "GET /posts/7",
        "route": "/posts/{post_id}",
        "status": 200,
        "duration_ms": 1.3,
        "request_id": "r-1",
        "user_id": 7,
    }


def test_on_the_console_a_request_is_a_readable_line() -> None:
    with written("console") as it:
        it.logs.request("GET", "/posts/7", **ANSWERED | {"email": "anna@example.com"})
        (line,) = it.lines()

    assert re.fullmatch(r"\d\d:\d\d:\d\d ", line[:9])
    assert line[9:] == (
        "[info] GET /posts/7 route=/posts/{post_id} status=200 duration_ms=1.3 request_id=r-1"
        " user_id=7 email=anna@example.com"
    )


@pytest.mark.parametrize("form", ["json", "console"])
def test_records_of_other_loggers_are_redacted_too(form: Format) -> None:
    def fail(password: str) -> None:
        raise ValueError(f"{password=}")

    password = "hunter2"  # not in the line that calls, which a traceback shows
    with written(form) as it:
        fields = {"actor_id": 1, "details": {"refresh_token": "hunter2"}, "request_id": "r-1"}
        it.logger.warning("cannot reach %s", "http://anna:hunter2@x", extra={"fields": fields})
        try:
            fail(password)
        except ValueError:
            it.logger.exception("failed")
        lines = it.lines()

    assert "hunter2" not in "\n".join(lines)
    assert "cannot reach http://[redacted]@x" in lines[0]
    assert "actor_id" in lines[0]
    assert "Traceback (most recent call last):" in "\n".join(lines)
    assert "ValueError: password=[redacted]" in "\n".join(lines)
    assert len(lines) == 2 or form == "console"


def test_lines_are_written_in_order_and_completely() -> None:
    with written() as it:
        for number in range(5000):
            it.logger.info("line %d", number)
        lines = it.lines()

    assert [json.loads(line)["message"] for line in lines] == [f"line {n}" for n in range(5000)]


def test_lines_after_stop_are_written_at_once() -> None:
    with written() as it:
        it.logs.stop()
        it.logger.error("too late to start")

        assert it.line()["message"] == "too late to start"


class Stuck(io.StringIO):
    """A pipe that nobody reads, until `drained`."""

    def __init__(self) -> None:
        super().__init__()
        self.full = Event()
        self.drained = Event()

    def write(self, text: str) -> int:
        self.full.set()
        assert self.drained.wait(20)
        return super().write(text)


def test_without_a_reader_the_oldest_lines_are_dropped_and_counted() -> None:
    stuck = Stuck()
    with written(stderr=stuck) as it:
        it.logger.info("under way")
        assert stuck.full.wait(20)
        for number in range(LINES_MAX + 2000):
            it.logs.request("GET", f"/{number}")
        stuck.drained.set()
        lines = it.lines()

        assert it.logs.dropped == 2000
        assert len(lines) == 1 + LINES_MAX
        assert '"message": "GET /2000"' in lines[1]


class Full(io.StringIO):
    """A disk without room for anything, until `room`."""

    room = False

    def write(self, text: str) -> int:
        if not self.room:
            raise OSError(28, "No space left on device")
        return super().write(text)


def test_unwritable_lines_are_counted_and_later_ones_are_written() -> None:
    full = Full()
    with written(stderr=full) as it:
        it.logger.info("lost")
        deadline = time.monotonic() + 20
        while not it.logs.dropped:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        full.room = True
        it.logger.info("kept")

        assert it.line()["message"] == "kept"


class Unspeakable:
    def __repr__(self) -> str:
        raise RuntimeError


def test_a_line_that_cannot_be_formatted_affects_no_other() -> None:
    with written() as it:
        it.logger.info("first", extra={"fields": {"it": Unspeakable()}})
        it.logger.info("second %d", "no number")
        it.logger.info("third")
        first, second, third = it.lines()

    assert first == "a log line was lost: RuntimeError"
    assert json.loads(second)["message"] == "second %d"
    assert json.loads(third)["message"] == "third"
