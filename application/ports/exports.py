"""All that is stored of a user, as a port."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from domain.users import UserId

Value = str | int | bool | datetime | Mapping[str, object] | None


class Exports(Protocol):
    def of(self, user_id: UserId) -> AsyncIterator[tuple[str, Sequence[Mapping[str, Value]]]]:
        """What is stored of the user besides the account, without secrets and hashes: the name of a
        section and some of its rows, oldest first.

        Yields every section at least once and the batches of a section one after the other, so that
        a large account is never in memory as a whole. The batches are separate reads: a row that
        existed throughout is there exactly once.
        """
        ...
