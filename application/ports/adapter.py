"""The part of every port that serves the start, the checks and the metrics of the service.

Each method has a default that does nothing, so an adapter defines only those that it needs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class Reading:
    """A value that an adapter keeps as a plain integer and that metrics read."""

    kind: Literal["counter", "gauge", "shared gauge"]
    """A counter only grows, and is summed over all workers that ever ran. A gauge is summed over
    the live workers. A shared gauge is the maximum over the live workers.
    """
    name: str
    text: str
    """The help text."""
    read: Callable[[], int]
    labels: Mapping[str, str] = field(default_factory=dict)
    """Readings of one name differ in the values of their labels."""


class Adapter(Protocol):
    async def check(self) -> str | None:
        """A text for the operator about what is wrong with the adapter's server; None if it works.

        The text contains no secret.
        """
        return None

    async def close(self) -> None:
        """Release connections. The adapter is not used afterwards."""
        return

    def readings(self) -> Sequence[Reading]:
        """The values that metrics show for this adapter."""
        return ()
