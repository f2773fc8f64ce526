"""Where the request in hand comes from: for the audit and the log, never for a decision.

A context variable, because it belongs to everything that one request does and to nothing that the
business does: as an argument it would run through every service only to come out at the other end.
"""

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RequestInfo:
    request_id: str | None = None
    ip: str | None = None


_NONE = RequestInfo()

REQUEST_INFO = ContextVar("origin", default=_NONE)
"""Set by whoever takes a request in; the default stands for the command line."""
