"""What every port offers to those who start, check and observe the service.

Each has a default that does nothing, so that an adapter defines only what concerns it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class Reading:
    """A figure that an adapter keeps as a plain integer, and that metrics read when asked."""

    kind: Literal["counter", "gauge", "shared gauge"]
    """A counter only grows, and is summed over all workers that there ever were. A gauge is summed
    over those that live; a shared one is of what all of them see, and the highest figure counts.
    """
    name: str
    text: str
    """The help text."""
    read: Callable[[], int]


class Adapter(Protocol):
    async def check(self) -> str | None:
        """What is wrong with what the adapter relies on, for the operator; None if it works.

        The text holds no secret.
        """
        return None

    async def close(self) -> None:
        """Release connections. The adapter is not used afterwards."""
        return

    def readings(self) -> Sequence[Reading]:
        """What metrics show of this adapter."""
        return ()
