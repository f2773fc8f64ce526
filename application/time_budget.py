"""How long the request in hand has waited for the database, in all its turns together.

A context variable for the same reason as `application.request_info`: no service has any use for it.
"""

from contextvars import ContextVar

DB_TIME_SPENT: ContextVar[float | None] = ContextVar("waited", default=None)
"""Seconds. Set to 0 by whoever takes a request in; None where every turn is counted by itself: in
the background and on the command line."""
