"""Administration: everybody's accounts and the audit, for admins."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from api.dependencies import CurrentUser, UseCases
from api.ids import Id
from api.pages import LINK, PageQuery, link_next, position
from api.routing import protected_router
from api.users import OMITTABLE, UserView
from application.administration import AdministrationService
from application.errors import raises
from application.ports.queries import AuditEntry, EventList
from domain.scopes import Scope
from domain.users import Role, UserId

protected = protected_router("administration")


_LINKED: dict[int | str, dict[str, Any]] = {200: {"headers": LINK}}


class UserChangeBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    role: Annotated[Literal["member", "moderator", "admin"] | None, *OMITTABLE] = None
    is_active: Annotated[bool | None, *OMITTABLE] = None


class EventView(BaseModel):
    """Something that happened. What an event was done to may be gone by now."""

    id: int = Field(examples=[11])
    at: datetime
    name: str = Field(examples=["user_renamed"])
    actor_id: int | None = Field(description="The user who did it; null if unknown", examples=[1])
    subject: str = Field(description="Kind and id", examples=["user:7"])
    details: dict[str, str | int | bool | None]
    request_id: str | None
    ip: str | None = Field(examples=["192.0.2.1"])

    @classmethod
    def of(cls, entry: AuditEntry) -> "EventView":
        event = entry.event
        return cls(
            id=entry.id,
            at=event.at,
            name=event.name,
            actor_id=event.actor_id,
            subject=event.subject,
            details=dict(event.details),
            request_id=entry.request_id,
            ip=entry.ip,
        )


@protected.get(
    "/users",
    scope=Scope.ADMIN,
    summary="List users",
    responses=_LINKED,
)
@raises(AdministrationService.users)
async def list_users(
    query: Annotated[PageQuery, Query()],
    request: Request,
    response: Response,
    user: CurrentUser,
    use_cases: UseCases,
) -> list[UserView]:
    page = await use_cases.administration.users(user, query.limit, position(query, request))
    link_next(page, query, request, response)
    return [UserView.of(item) for item in page.items]


@protected.patch(
    "/users/{user_id}",
    scope=Scope.ADMIN,
    summary="Change a user's role or state",
)
@raises(AdministrationService.change)
async def change_user(
    user_id: Annotated[Id, Path()],
    body: UserChangeBody,
    user: CurrentUser,
    use_cases: UseCases,
) -> UserView:
    changed = await use_cases.administration.change(
        user,
        UserId(user_id),
        role=Role(body.role) if body.role else None,
        is_active=body.is_active,
    )
    return UserView.of(changed)


class EventsQuery(PageQuery):
    actor_id: Id | None = Field(None, description="Only what this user did")
    subject: str | None = Field(
        None,
        pattern=r"^[!-~]{1,200}$",
        description="Only what was done to this, kind and id",
        examples=["user:7"],
    )
    name: str | None = Field(
        None, pattern=r"^[a-z_]{1,50}$", description="Only events of this name"
    )

    def to_list(self, after: tuple[int, ...] | None) -> EventList:
        return EventList(
            limit=self.limit,
            after=after,
            actor_id=None if self.actor_id is None else UserId(self.actor_id),
            subject=self.subject,
            name=self.name,
        )


@protected.get(
    "/audit",
    scope=Scope.ADMIN,
    summary="What happened",
    responses=_LINKED,
)
@raises(AdministrationService.audit)
async def list_events(
    query: Annotated[EventsQuery, Query()],
    request: Request,
    response: Response,
    user: CurrentUser,
    use_cases: UseCases,
) -> list[EventView]:
    wanted = query.to_list(position(query, request))
    page = await use_cases.administration.audit(user, wanted)
    link_next(page, query, request, response)
    return [EventView.of(item) for item in page.items]
