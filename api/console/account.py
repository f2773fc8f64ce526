"""Pages of one's own account."""

from datetime import timedelta
from typing import Annotated

from fastapi import Path, Request, Response
from pydantic import BaseModel, Field

from api.browser import FORGET
from api.console.forms import ChosenPassword, EnteredPassword, entered, submitted
from api.console.rendering import go, page
from api.console.routing import account_pages, open_pages
from api.cookies import cookie_header
from api.dependencies import CurrentSession, CurrentUser, UseCases
from api.ids import Id
from api.limits import limited_by_session
from api.request_context import address_of
from api.users import EmailAddress
from application.factors import FactorService
from application.ports.limits import Limit, account_hit
from application.services import Services
from domain.errors import DomainError
from domain.sessions import SessionId
from domain.users import ProfileChange, User

pages = account_pages()
enrolment = open_pages()
"""What a user may do who still lacks a second factor."""


class NameEntry(BaseModel):
    name: Annotated[str, Field(max_length=200)] = ""


class AddressEntry(BaseModel):
    email: EmailAddress
    current_password: EnteredPassword


class PasswordEntry(BaseModel):
    current_password: EnteredPassword
    new_password: ChosenPassword


class DeletionEntry(BaseModel):
    current_password: EnteredPassword


@enrolment.get("/console")
async def show_account(request: Request, user: CurrentUser) -> Response:
    return _account(request, user)


def _account(
    request: Request, user: User, form: str = "", error: DomainError | None = None, entry: str = ""
) -> Response:
    """`form`: which one was refused, with what was entered there."""
    return page(
        request,
        "account.html",
        error=error,
        form=form,
        name=entry if form == "name" else user.name or "",
        email=entry if form == "address" else "",
    )


@pages.post("/console/name")
async def rename(request: Request, user: CurrentUser, use_cases: UseCases) -> Response:
    try:
        form = await submitted(request, NameEntry)
        change = ProfileChange(name=form.name.strip() or None, renames=True)
        await use_cases.accounts.edit(user, change)
    except DomainError as error:
        return _account(request, user, "name", error, (await entered(request)).get("name", ""))
    return go(request, "/console", done="name")


@pages.post("/console/address")
async def change_address(request: Request, user: CurrentUser, use_cases: UseCases) -> Response:
    try:
        form = await submitted(request, AddressEntry)
        password = form.current_password.get_secret_value()
        change = ProfileChange(email=form.email)
        edited = await use_cases.accounts.edit(user, change, password, ip=address_of(request))
    except DomainError as error:
        email = (await entered(request)).get("email", "")
        return _account(request, user, "address", error, email)
    return go(request, "/console", done="address" if edited.pending_email else "address-same")


@pages.post("/console/verification")
async def ask_for_verification(
    request: Request, user: CurrentUser, use_cases: UseCases
) -> Response:
    try:
        subject = f"user:{user.id}"
        hit = account_hit(Limit.ACCOUNT_RESETS, user.email, "verification", subject=subject)
        await use_cases.limits.hit(hit)
        await use_cases.codes.ask_for_verification(user)
    except DomainError as error:
        return _account(request, user, "verification", error)
    return go(request, "/console", done="verification")


@enrolment.get("/console/security")
async def show_security(request: Request, user: CurrentUser, use_cases: UseCases) -> Response:
    return await _security(request, user, use_cases)


async def _security(
    request: Request, user: User, use_cases: Services, error: DomainError | None = None
) -> Response:
    has_factors = use_cases.ports.factor_policy.is_on
    return page(
        request,
        "security.html",
        error=error,
        sessions=await use_cases.auth.sessions(user),
        factors=await use_cases.of(FactorService).status(user) if has_factors else None,
        minimum=use_cases.ports.password_policy.minimum,
    )


@pages.post("/console/password", dependencies=[limited_by_session(Limit.SESSION_ENDINGS)])
async def change_password(
    request: Request, user: CurrentUser, session: CurrentSession, use_cases: UseCases
) -> Response:
    try:
        form = await submitted(request, PasswordEntry)
        await use_cases.accounts.change_password(
            user,
            current=form.current_password.get_secret_value(),
            new=form.new_password.get_secret_value(),
            keep=session.id,
            ip=address_of(request),
        )
    except DomainError as error:
        return await _security(request, user, use_cases, error)
    return go(request, "/console/security", done="password")


@enrolment.post(
    "/console/sessions/{session_id}/end",
    dependencies=[limited_by_session(Limit.SESSION_ENDINGS)],
)
async def end_session(
    session_id: Annotated[Id, Path()], request: Request, user: CurrentUser, use_cases: UseCases
) -> Response:
    await use_cases.auth.revoke_session(SessionId(session_id), user)
    return go(request, "/console/security", done="session")


@enrolment.post("/console/sessions/end", dependencies=[limited_by_session(Limit.SESSION_ENDINGS)])
async def end_sessions(request: Request, user: CurrentUser, use_cases: UseCases) -> Response:
    await use_cases.auth.revoke_sessions(user)
    return _left(request, "out")


@pages.get("/console/data")
async def show_data(request: Request) -> Response:
    return page(request, "data.html")


@pages.post("/console/deletion")
async def delete_account(request: Request, user: CurrentUser, use_cases: UseCases) -> Response:
    try:
        form = await submitted(request, DeletionEntry)
        password = form.current_password.get_secret_value()
        await use_cases.accounts.delete(user, password, ip=address_of(request))
    except DomainError as error:
        return page(request, "data.html", error=error)
    return _left(request, "deleted")


def _left(request: Request, done: str) -> Response:
    """The login, for a browser whose session is over."""
    response = go(request, "/console/login", done=done)
    response.headers["Set-Cookie"] = cookie_header(request, "", timedelta())
    response.headers["Clear-Site-Data"] = FORGET
    return response
