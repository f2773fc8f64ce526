"""The time, as a port: nothing inside reads the clock by itself."""

from collections.abc import Callable
from datetime import datetime

Clock = Callable[[], datetime]
"""The present moment, timezone-aware, in UTC."""
