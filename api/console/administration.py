"""Pages for admins."""

from typing import Annotated

from fastapi import Path, Request, Response
from pydantic import BaseModel

from api.administration import EventsQuery
from api.console.forms import BadForm, asked, submitted
from api.console.rendering import go, page
from api.console.routing import admin_pages
from api.dependencies import CurrentSession, CurrentUser, UseCases
from api.ids import Id
from api.limits import limited_by_session
from api.pages import PageQuery, cursor_after, position
from application.factors import FactorService
from application.ports.limits import Limit
from application.services import Services
from domain.errors import DomainError
from domain.users import Role, User, UserId, UserNotFound

pages = admin_pages()


class RoleEntry(BaseModel):
    role: Role


class StateEntry(BaseModel):
    is_active: bool


@pages.get("/console/users")
async def show_users(request: Request, admin: CurrentUser, use_cases: UseCases) -> Response:
    query = asked(request, PageQuery)
    found = await use_cases.administration.users(admin, query.limit, position(query, request))
    return page(
        request,
        "users.html",
        users=found.items,
        more=cursor_after(found, query, request),
        is_first=query.after is None,
        wanted="",
        found=None,
    )


@pages.get("/console/users/find")
async def find_user(request: Request, admin: CurrentUser, use_cases: UseCases) -> Response:
    wanted = request.query_params.get("q", "").strip()
    if not wanted:
        return go(request, "/console/users")
    user = await use_cases.administration.find(admin, wanted)
    if user is not None:
        return go(request, f"/console/users/{user.id}")
    return page(
        request, "users.html", users=[], more=None, is_first=True, wanted=wanted, found=False
    )


_FILTERS = {"name", "subject", "actor_id"}
UserPath = Annotated[Id, Path()]


@pages.get("/console/users/{user_id}")
async def show_user(
    user_id: UserPath, request: Request, admin: CurrentUser, use_cases: UseCases
) -> Response:
    return await _user(request, user_id, admin, use_cases)


async def _user(
    request: Request,
    user_id: int,
    admin: User,
    use_cases: Services,
    error: DomainError | None = None,
) -> Response:
    """The page of the user. Raises `UserNotFound`."""
    subject = await use_cases.administration.find(admin, str(user_id))
    if subject is None:
        raise UserNotFound(user_id)
    return page(
        request,
        "user.html",
        error=error,
        subject=subject,
        sessions=await use_cases.auth.sessions(subject),
        has_factors=use_cases.ports.factor_policy.is_on,
        roles=list(Role),
    )


@pages.post("/console/users/{user_id}/role")
async def change_role(
    user_id: UserPath, request: Request, admin: CurrentUser, use_cases: UseCases
) -> Response:
    try:
        form = await submitted(request, RoleEntry)
        await use_cases.administration.change(
            admin, UserId(user_id), role=form.role, is_active=None
        )
    except DomainError as error:
        return await _user(request, user_id, admin, use_cases, error)
    return go(request, f"/console/users/{user_id}", done="role")


@pages.post("/console/users/{user_id}/state")
async def change_state(
    user_id: UserPath, request: Request, admin: CurrentUser, use_cases: UseCases
) -> Response:
    try:
        form = await submitted(request, StateEntry)
        await use_cases.administration.change(
            admin, UserId(user_id), role=None, is_active=form.is_active
        )
    except DomainError as error:
        return await _user(request, user_id, admin, use_cases, error)
    done = "activated" if form.is_active else "deactivated"
    return go(request, f"/console/users/{user_id}", done=done)


@pages.post(
    "/console/users/{user_id}/sessions/end",
    dependencies=[limited_by_session(Limit.SESSION_ENDINGS)],
)
async def end_sessions(
    user_id: UserPath, request: Request, admin: CurrentUser, use_cases: UseCases
) -> Response:
    await use_cases.administration.revoke_sessions(admin, UserId(user_id))
    return go(request, f"/console/users/{user_id}", done="sessions")


@pages.post("/console/users/{user_id}/factors/remove")
async def remove_factors(
    user_id: UserPath,
    request: Request,
    admin: CurrentUser,
    session: CurrentSession,
    use_cases: UseCases,
) -> Response:
    await use_cases.of(FactorService).remove_all(admin, session, UserId(user_id))
    return go(request, f"/console/users/{user_id}", done="factors-removed")


@pages.get("/console/audit")
async def show_audit(request: Request, admin: CurrentUser, use_cases: UseCases) -> Response:
    try:
        query = asked(request, EventsQuery)
    except BadForm as error:
        return page(
            request,
            "audit.html",
            error=error,
            query={name: request.query_params.get(name) for name in _FILTERS},
            entries=[],
            more=None,
            is_first=True,
        )
    found = await use_cases.administration.audit(admin, query.to_list(position(query, request)))
    return page(
        request,
        "audit.html",
        query=query.model_dump(include=_FILTERS),
        entries=found.items,
        more=cursor_after(found, query, request),
        is_first=query.after is None,
    )
