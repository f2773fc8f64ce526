"""The export of all that is stored of the current user."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from fastapi.responses import StreamingResponse
from pydantic_core import to_json

from api.dependencies import CurrentUser, UseCases
from api.routing import protected_router
from api.users import UserView
from application.errors import raises
from application.exports import ExportService
from application.ports.exports import Value
from domain.scopes import Scope
from domain.users import User

protected = protected_router("users")

_SCHEMA = {
    "type": "object",
    "properties": {"user": {"$ref": "#/components/schemas/UserView"}},
    "required": ["user"],
    "additionalProperties": {"type": "array", "items": {"type": "object"}},
}
_DOCUMENTED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The account, and a list for each kind of thing that is stored of it:"
        " `sessions`, `events`...",
        "content": {"application/json": {"schema": _SCHEMA}},
    }
}


class ExportResponse(StreamingResponse):
    media_type = "application/json"


@protected.get(
    "/users/me/export",
    scope=Scope.ACCOUNT_READ,
    response_class=ExportResponse,
    summary="All that is stored of the current user",
    responses=_DOCUMENTED,
)
@raises(ExportService.of)
async def export_current_user(user: CurrentUser, use_cases: UseCases) -> ExportResponse:
    """A large account is streamed: an export that ends early breaks the connection."""
    return ExportResponse(
        document(user, use_cases.of(ExportService).of(user)),
        headers={"Content-Disposition": f'attachment; filename="gatepost-user-{user.id}.json"'},
    )


async def document(
    user: User, sections: AsyncIterator[tuple[str, Sequence[Mapping[str, Value]]]]
) -> AsyncIterator[bytes]:
    """The export as JSON, in pieces."""
    yield b'{"user":' + to_json(UserView.of(user))
    open_section = None
    for_comma = b""
    async for name, rows in sections:
        if name != open_section:
            yield (b"]," if open_section else b",") + to_json(name) + b":["
            open_section, for_comma = name, b""
        for row in rows:
            yield for_comma + to_json(row)
            for_comma = b","
    yield b"]}" if open_section else b"}"
