"""Pages of the login: password, second step and passkey; and the logout."""

from collections.abc import Sequence

from fastapi import Request, Response
from pydantic import BaseModel, Field, Json

from api.auth import client_info_of
from api.browser import end_browser_session, set_cookie
from api.console.forms import EnteredPassword, Text, entered, submitted
from api.console.rendering import go, local_path, page
from api.console.routing import public_pages
from api.cookies import session_cookie
from api.dependencies import UseCases
from api.limits import limited_by_network
from api.passkeys import AssertionBody
from application.browser import BrowserService
from application.challenges import Challenge, FactorKind
from application.logins import Login
from application.passkeys import PasskeyService
from application.ports.limits import Limit
from application.proofs import ProofService
from application.services import Services
from domain.errors import DomainError
from domain.sessions import InvalidCredentials, InvalidToken

pages = public_pages()
passkeys = public_pages()
"""The login by a passkey alone."""

_METHODS = ("totp", "recovery_code", "passkey")


class LoginEntry(BaseModel):
    username: Text
    password: EnteredPassword


class CodeStepEntry(BaseModel):
    challenge: Text = Field(repr=False)
    code: EnteredPassword


class PasskeyStepEntry(BaseModel):
    challenge: Text = Field(repr=False)
    credential: Json[AssertionBody]


class PasskeyEntry(BaseModel):
    credential: Json[AssertionBody]


@pages.get("/console/login")
async def show_login(request: Request, use_cases: UseCases) -> Response:
    back = local_path(request.query_params.get("return"))
    if await is_logged_in(request, use_cases):
        return go(request, back)
    return _login(request, back)


@pages.post("/console/login", dependencies=[limited_by_network(Limit.LOGINS)])
async def log_in(request: Request, use_cases: UseCases) -> Response:
    fields = await entered(request)
    back = local_path(fields.get("return"))
    try:
        form = await submitted(request, LoginEntry)
        login = await use_cases.auth.login(
            form.username,
            form.password.get_secret_value(),
            client_info_of(request, is_browser=True),
        )
    except DomainError as error:
        return _login(request, back, error, fields.get("username", ""))
    if isinstance(login, Challenge):
        return _second_step(request, back, login.token, login.methods)
    return _logged_in(request, back, login)


@passkeys.post("/console/login/passkey", dependencies=[limited_by_network(Limit.LOGINS)])
async def log_in_by_passkey(request: Request, use_cases: UseCases) -> Response:
    back = local_path((await entered(request)).get("return"))
    try:
        form = await submitted(request, PasskeyEntry)
        client = client_info_of(request, is_browser=True)
        login = await use_cases.of(PasskeyService).login(form.credential.to_domain(), client)
    except InvalidCredentials:
        error = InvalidCredentials("This passkey logs in to no account here")
        return _login(request, back, error)
    except DomainError as error:
        return _login(request, back, error)
    return _logged_in(request, back, login)


def _login(
    request: Request, back: str, error: DomainError | None = None, email: str = ""
) -> Response:
    return page(request, "login.html", error=error, back=back, email=email, has_script=True)


@pages.post("/console/login/second-factor", dependencies=[limited_by_network(Limit.LOGINS)])
async def finish_login(request: Request, use_cases: UseCases) -> Response:
    fields = await entered(request)
    back = local_path(fields.get("return"))
    try:
        login = await use_cases.of(ProofService).second_step(
            *await _answer(request), client_info_of(request, is_browser=True)
        )
    except DomainError as error:
        methods = [name for name in _METHODS if name in fields.get("methods", "").split()]
        return _second_step(request, back, fields.get("challenge", ""), methods, error)
    return _logged_in(request, back, login)


async def _answer(request: Request) -> tuple[str, FactorKind, object]:
    """The challenge, and the second factor that answers it. Raises `BadForm`."""
    if FactorKind.CREDENTIAL in await entered(request):
        by_passkey = await submitted(request, PasskeyStepEntry)
        return by_passkey.challenge, FactorKind.CREDENTIAL, by_passkey.credential.to_domain()
    by_code = await submitted(request, CodeStepEntry)
    return by_code.challenge, FactorKind.CODE, by_code.code.get_secret_value()


def _second_step(
    request: Request,
    back: str,
    challenge: str,
    methods: Sequence[str],
    error: DomainError | None = None,
) -> Response:
    return page(
        request,
        "second_step.html",
        error=error,
        has_script="passkey" in methods,
        back=back,
        challenge=challenge,
        methods=methods,
    )


def _logged_in(request: Request, back: str, login: Login) -> Response:
    response = go(request, back)
    set_cookie(response, request, login)
    return response


@pages.post("/console/logout", dependencies=[limited_by_network(Limit.SESSION_ENDINGS)])
async def log_out(request: Request, use_cases: UseCases) -> Response:
    response = go(request, "/console/login", done="out")
    await end_browser_session(request, response, use_cases)
    return response


async def is_logged_in(request: Request, use_cases: Services) -> bool:
    try:
        cookie = session_cookie(request)
        if cookie is None:
            return False
        await use_cases.of(BrowserService).authenticate(cookie)
    except InvalidToken:
        return False
    return True
