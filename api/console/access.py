"""Pages before the login: registration, and what the links in mails lead to."""

from typing import Annotated

from fastapi import Request, Response
from pydantic import BaseModel, Field

from api.auth import client_info_of, completed
from api.browser import set_cookie
from api.console.forms import ChosenPassword, Text, entered, submitted
from api.console.logins import is_logged_in
from api.console.rendering import go, page
from api.console.routing import public_pages
from api.dependencies import UseCases
from api.limits import limited_by_network
from api.request_context import address_of
from api.users import EmailAddress
from application.ports.limits import Limit, account_hit
from application.registrations import RegistrationService, confirm
from application.services import Services
from domain.errors import DomainError
from domain.registrations import RegistrationMode
from domain.users import UserDraft

pages = public_pages()

# A mailed link is acted on by a click. Programs that look into mails fetch links.
_NO_REFERRER = {"Referrer-Policy": "no-referrer"}


class RegistrationEntry(BaseModel):
    email: EmailAddress
    password: ChosenPassword
    name: Annotated[str, Field(max_length=200)] = ""


class AddressEntry(BaseModel):
    email: EmailAddress


class TokenEntry(BaseModel):
    token: Text = Field(repr=False)


class ResetEntry(TokenEntry):
    password: ChosenPassword


@pages.get("/console/register")
async def show_registration(request: Request, use_cases: UseCases) -> Response:
    return _registration(request, use_cases, {})


@pages.post("/console/register", dependencies=[limited_by_network(Limit.REGISTRATIONS)])
async def register(request: Request, use_cases: UseCases) -> Response:
    fields = await entered(request)
    try:
        form = await submitted(request, RegistrationEntry)
        password = form.password.get_secret_value()
        draft = UserDraft(email=form.email, name=form.name.strip() or None)
        if use_cases.ports.registration is not RegistrationMode.OPEN:
            await use_cases.of(RegistrationService).ask(draft, password, ip=address_of(request))
            return go(request, "/console/login", done="asked")
        await use_cases.accounts.register(draft, password, ip=address_of(request))
        login = completed(
            await use_cases.auth.login(
                form.email, password, client_info_of(request, is_browser=True)
            )
        )
    except DomainError as error:
        return _registration(request, use_cases, fields, error)
    response = go(request, "/console", done="registered")
    set_cookie(response, request, login)
    return response


def _registration(
    request: Request,
    use_cases: Services,
    fields: dict[str, str],
    error: DomainError | None = None,
) -> Response:
    return page(
        request,
        "register.html",
        error=error,
        email=fields.get("email", ""),
        name=fields.get("name", ""),
        minimum=use_cases.ports.password_policy.minimum,
    )


@pages.get("/console/forgot")
async def show_forgotten(request: Request) -> Response:
    return page(request, "forgot.html", email="", asked=False)


@pages.post("/console/forgot", dependencies=[limited_by_network(Limit.RESETS)])
async def ask_for_reset(request: Request, use_cases: UseCases) -> Response:
    """The same page for every address, whether somebody has it or not."""
    try:
        form = await submitted(request, AddressEntry)
        await use_cases.limits.hit(account_hit(Limit.ACCOUNT_RESETS, form.email))
        await use_cases.codes.ask_for_reset(form.email)
    except DomainError as error:
        email = (await entered(request)).get("email", "")
        return page(request, "forgot.html", error=error, email=email, asked=False)
    return page(request, "forgot.html", email=form.email, asked=True)


@pages.get("/console/reset")
async def show_reset(request: Request, use_cases: UseCases) -> Response:
    return _reset(request, use_cases, request.query_params.get("token", ""))


@pages.post("/console/reset", dependencies=[limited_by_network(Limit.RESETS)])
async def reset(request: Request, use_cases: UseCases) -> Response:
    try:
        form = await submitted(request, ResetEntry)
        password = form.password.get_secret_value()
        await use_cases.codes.reset(form.token, password, ip=address_of(request))
    except DomainError as error:
        token = (await entered(request)).get("token", "")
        return _reset(request, use_cases, token, error)
    return go(request, "/console/login", done="reset")


def _reset(
    request: Request, use_cases: Services, token: str, error: DomainError | None = None
) -> Response:
    return page(
        request,
        "reset.html",
        error=error,
        headers=_NO_REFERRER,
        token=token,
        minimum=use_cases.ports.password_policy.minimum,
    )


@pages.get("/console/verify")
async def show_verification(request: Request) -> Response:
    token = request.query_params.get("token", "")
    return page(request, "verify.html", headers=_NO_REFERRER, token=token)


@pages.post("/console/verify", dependencies=[limited_by_network(Limit.RESETS)])
async def verify(request: Request, use_cases: UseCases) -> Response:
    try:
        form = await submitted(request, TokenEntry)
        await confirm(use_cases, form.token)
    except DomainError as error:
        return page(request, "verify.html", error=error, headers=_NO_REFERRER, token="")
    return await _after_a_link(request, use_cases, "verified")


@pages.get("/console/undo")
async def show_undo(request: Request) -> Response:
    token = request.query_params.get("token", "")
    return page(request, "undo.html", headers=_NO_REFERRER, token=token)


@pages.post("/console/undo", dependencies=[limited_by_network(Limit.RESETS)])
async def undo_email_change(request: Request, use_cases: UseCases) -> Response:
    try:
        form = await submitted(request, TokenEntry)
        await use_cases.codes.undo_email_change(form.token)
    except DomainError as error:
        return page(request, "undo.html", error=error, headers=_NO_REFERRER, token="")
    return go(request, "/console/login", done="undone")


async def _after_a_link(request: Request, use_cases: Services, done: str) -> Response:
    path = "/console" if await is_logged_in(request, use_cases) else "/console/login"
    return go(request, path, done=done)
