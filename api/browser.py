"""The browser's door: a session that a cookie carries."""

from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Annotated, Any, Self

from fastapi import Form, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import PydanticCustomError
from starlette.exceptions import HTTPException

from api.auth import LoginForm, client_info_of, completed
from api.cookies import cookie_header, session_cookie
from api.dependencies import UseCases, services_of
from api.errors import located
from api.limits import limited_by_network
from api.proofs import (
    OmittableChallenge,
    OmittableCode,
    OmittableCredential,
    answer_of,
    expect_one,
)
from api.routing import BrowserRoute, browser_router
from application.auth import AuthService
from application.browser import BrowserService
from application.errors import raises
from application.logins import Login
from application.passkeys import PasskeyService
from application.ports.limits import Limit
from application.proofs import ProofService
from application.services import Services
from domain.challenges import SecondFactorRequired
from domain.sessions import InvalidToken

public = browser_router("browser")

FORGET = '"cache", "storage"'
"""`Clear-Site-Data` (its section 3.1) at a logout. Not "cookies", which would be those of the whole
registrable domain.
"""


class BrowserLoginBody(BaseModel):
    """The second step, `challenge` and one of `code` and `credential`, or a passkey alone:
    `credential`.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    challenge: OmittableChallenge = None
    code: OmittableCode = None
    credential: OmittableCredential = None

    @model_validator(mode="after")
    def _one_answer(self) -> Self:
        expect_one(self, "code", "credential")
        if self.challenge is None and self.code is not None:
            raise PydanticCustomError("one_of", "code is the answer to a challenge")
        return self


_CHALLENGE_MISSING = {"type": "missing", "loc": ("body", "challenge"), "msg": "Field required"}


class _LoginRoute(BrowserRoute):
    """Takes the form of a password, and the JSON of a second step and of a passkey alone."""

    more_media_types = ("application/json",)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        by_password = super().get_route_handler()

        async def by_password_or_json(request: Request) -> Response:
            media_type = request.headers.get("content-type", "").partition(";")[0]
            if media_type.strip().lower() != "application/json":
                return await by_password(request)
            await self.admit(request)
            return await _log_in_by_json(request)

        return by_password_or_json


async def _log_in_by_json(request: Request) -> Response:
    use_cases = await services_of(request)
    if not use_cases.ports.factor_policy.is_on:
        raise HTTPException(415)
    try:
        body = BrowserLoginBody.model_validate_json(await request.body())
    except ValidationError as error:
        raise RequestValidationError(located(error, "body")) from None
    client = client_info_of(request, is_browser=True)
    if body.challenge is not None:
        login = await use_cases.of(ProofService).second_step(
            body.challenge.get_secret_value(), *answer_of(body), client
        )
    elif body.credential is not None and use_cases.ports.passkeys is not None:
        login = await use_cases.of(PasskeyService).login(body.credential.to_domain(), client)
    else:  # without a relying party no passkey logs in alone
        raise RequestValidationError([_CHALLENGE_MISSING])
    response = Response(status_code=204)
    set_cookie(response, request, login)
    return response


@raises(AuthService.login, ProofService.second_step, PasskeyService.login, SecondFactorRequired)
async def log_browser_in(
    form: Annotated[LoginForm, Form()], request: Request, response: Response, use_cases: UseCases
) -> None:
    """As `POST /login`, for pages of this site alone: the answer is a cookie that lasts for as long
    as it is used, and no tokens. JSON is for the second step, as for `POST /login/second-factor`,
    and for a login by a passkey, as for `POST /login/passkey`. With strong login off it is a 415.
    """
    result = await use_cases.auth.login(
        form.username, form.password.get_secret_value(), client_info_of(request, is_browser=True)
    )
    set_cookie(response, request, completed(result))


public.add_api_route(
    "/browser/login",
    log_browser_in,
    methods=["POST"],
    route_class_override=_LoginRoute,
    status_code=204,
    response_class=Response,
    summary="Log a browser in",
    dependencies=[limited_by_network(Limit.LOGINS)],
    openapi_extra={
        "requestBody": {
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/BrowserLoginBody"}}
            }
        }
    },
)


@public.delete(
    "/browser/login",
    status_code=204,
    response_class=Response,
    summary="Log a browser out",
    dependencies=[limited_by_network(Limit.SESSION_ENDINGS)],
)
@raises(AuthService.logout)
async def log_browser_out(request: Request, response: Response, use_cases: UseCases) -> None:
    """Ends the session of the cookie, if there is one."""
    await end_browser_session(request, response, use_cases)


def login_schemas() -> dict[str, Any]:
    """The component schemas of the JSON that `log_browser_in` reads itself."""
    template = "#/components/schemas/{model}"
    schema = BrowserLoginBody.model_json_schema(ref_template=template)
    return {**schema.pop("$defs"), BrowserLoginBody.__name__: schema}


def set_cookie(response: Response, request: Request, login: Login) -> None:
    response.headers["Cache-Control"] = "no-store"
    response.headers["Set-Cookie"] = cookie_header(request, login.cookie, login.refresh_life)


async def end_browser_session(request: Request, response: Response, use_cases: Services) -> None:
    """Revoke the session of the request's cookie and have the browser forget it."""
    try:
        if cookie := session_cookie(request):
            _, session, _ = await use_cases.of(BrowserService).authenticate(cookie)
            await use_cases.auth.logout(session)
    except InvalidToken:
        pass  # the cookie goes all the same
    response.headers["Set-Cookie"] = cookie_header(request, "", timedelta())
    response.headers["Clear-Site-Data"] = FORGET
