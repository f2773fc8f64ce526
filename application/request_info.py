"""The id and the client address of the current request, for the audit and the log.

Use cases never decide by them. They are a context variable because every use case needs them and
none uses them: as an argument they would pass through every service.
"""

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RequestInfo:
    request_id: str | None = None
    ip: str | None = None


_NONE = RequestInfo()

REQUEST_INFO = ContextVar("request_info", default=_NONE)
"""Set for each request, and for each mail. Commands leave the default, which is empty."""
