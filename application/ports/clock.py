"""The time, as a port: domain and application never read the clock themselves."""

from collections.abc import Callable
from datetime import datetime

Clock = Callable[[], datetime]
"""Returns the current time, timezone-aware, in UTC."""
