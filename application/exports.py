"""The export: all that is stored of a user."""

from collections.abc import AsyncIterator, Mapping, Sequence

from application.errors import raises
from application.ports.exports import Exports, Value
from application.services import Ports
from domain.users import User


class ExportService:
    def __init__(self, ports: Ports) -> None:
        self._queries = ports.queries

    @raises()
    def of(self, user: User) -> AsyncIterator[tuple[str, Sequence[Mapping[str, Value]]]]:
        """The sections of the user's export, as `Exports.of` yields them."""
        return self._queries.of(Exports).of(user.id)
