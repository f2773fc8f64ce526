"""Sessions: login, refresh, logout, lists and revocation."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import Form, Path, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, SecretStr, StringConstraints

from api.dependencies import CurrentSession, CurrentUser, ServicePorts, UseCases
from api.ids import Id
from api.limits import limited_by_network, limited_by_session
from api.request_context import address_of, request_context
from api.routing import protected_router, public_router
from api.users import OMITTABLE
from application.auth import AuthService
from application.challenges import Challenge
from application.errors import raises
from application.logins import ClientInfo, Login
from application.ports.limits import Limit
from domain.addresses import EMAIL_MAX
from domain.challenges import SecondFactorRequired
from domain.passwords import PASSWORD_INPUT_MAX
from domain.scopes import Scope
from domain.sessions import Session, SessionId

public = public_router("sessions")

well_known = public_router("sessions")
protected = protected_router("sessions")

USER_AGENT_MAX = 256


class LoginForm(BaseModel):
    """The form of the password grant (RFC 6749, section 4.3.2). Other fields are ignored."""

    username: Annotated[str, StringConstraints(min_length=1, max_length=EMAIL_MAX)] = Field(
        description="The e-mail address", examples=["anna@example.com"]
    )
    password: SecretStr = Field(
        min_length=1, max_length=PASSWORD_INPUT_MAX, examples=["correct horse battery"]
    )
    grant_type: Annotated[Literal["password"] | None, *OMITTABLE] = None


class RefreshForm(BaseModel):
    """The form of a refresh (RFC 6749, section 6). Other fields are ignored."""

    refresh_token: SecretStr = Field(min_length=1)
    grant_type: Annotated[Literal["refresh_token"] | None, *OMITTABLE] = None


class TokensView(BaseModel):
    access_token: str = Field(repr=False)
    token_type: Literal["bearer"] = "bearer"  # noqa: S105
    expires_in: int = Field(description="Lifetime of the access token in seconds", examples=[3600])
    refresh_token: str = Field(repr=False)
    refresh_expires_in: int = Field(description="Lifetime of the refresh token in seconds")

    @classmethod
    def of(cls, login: Login) -> "TokensView":
        return cls(
            access_token=login.access_token,
            expires_in=int(login.access_life.total_seconds()),
            refresh_token=login.refresh_token,
            refresh_expires_in=int(login.refresh_life.total_seconds()),
        )


class SessionView(BaseModel):
    id: int = Field(examples=[1])
    created_at: datetime
    last_used_at: datetime = Field(description="Time of the last refresh, or of the login")
    expires_at: datetime = Field(description="Time of expiry, unless the session is refreshed")
    user_agent: str | None = Field(examples=["Mozilla/5.0"])
    ip: str | None = Field(description="Address of the login", examples=["192.0.2.1"])
    methods: list[Literal["pwd", "otp", "hwk", "user"]] = Field(
        description="How its owner was authenticated (RFC 8176)", examples=[["pwd"]]
    )
    proved_at: datetime = Field(
        description="Time of the last proof, or of the login; a refresh does not change it"
    )
    current: bool = Field(description="Whether the token of this request belongs to it")

    @classmethod
    def of(cls, session: Session, current: Session | None) -> "SessionView":
        return cls(
            id=session.id,
            created_at=session.created_at,
            last_used_at=session.last_used_at,
            expires_at=session.expires_at,
            user_agent=session.user_agent,
            ip=session.ip,
            methods=[method.value for method in session.methods],
            proved_at=session.proved_at,
            current=current is not None and session.id == current.id,
        )


@public.post(
    "/login",
    summary="Log in",
    description="On an account with a second factor the answer to a right password is a 401"
    " `second_factor_required` with the members `challenge`, `methods` (of `totp`, `recovery_code`,"
    " `passkey`) and `expires_in` (seconds): go on with `POST /login/second-factor`.",
    dependencies=[limited_by_network(Limit.LOGINS)],
)
@raises(AuthService.login, SecondFactorRequired)
async def login(
    form: Annotated[LoginForm, Form()],
    request: Request,
    response: Response,
    use_cases: UseCases,
) -> TokensView:
    login = completed(
        await use_cases.auth.login(
            form.username, form.password.get_secret_value(), client_info_of(request)
        )
    )
    response.headers["Cache-Control"] = "no-store"
    return TokensView.of(login)


def completed(login: Login | Challenge) -> Login:
    """Raises `SecondFactorRequired` with the challenge, if the password was not enough."""
    if isinstance(login, Challenge):
        raise SecondFactorRequired(login.token, login.methods)
    return login


@public.post(
    "/refresh",
    summary="Refresh a session",
    dependencies=[limited_by_network(Limit.REFRESHES)],
)
@raises(AuthService.refresh)
async def refresh(
    form: Annotated[RefreshForm, Form()], response: Response, use_cases: UseCases
) -> TokensView:
    login = await use_cases.auth.refresh(form.refresh_token.get_secret_value())
    response.headers["Cache-Control"] = "no-store"
    return TokensView.of(login)


@protected.post(
    "/logout",
    scope=Scope.SESSION_ONLY,
    without_factor=True,
    status_code=204,
    response_class=Response,
    summary="Log out",
    dependencies=[limited_by_session(Limit.SESSION_ENDINGS)],
)
@raises(AuthService.logout)
async def logout(session: CurrentSession, use_cases: UseCases) -> None:
    await use_cases.auth.logout(session)


@protected.get(
    "/sessions",
    scope=Scope.ACCOUNT_READ,
    without_factor=True,
    summary="List own sessions",
)
@raises(AuthService.sessions)
async def list_sessions(
    request: Request, user: CurrentUser, use_cases: UseCases
) -> list[SessionView]:
    current = request_context(request).session  # none, with a personal token
    return [SessionView.of(session, current) for session in await use_cases.auth.sessions(user)]


@protected.delete(
    "/sessions",
    scope=Scope.ACCOUNT_WRITE,
    without_factor=True,
    status_code=204,
    response_class=Response,
    summary="Log out everywhere",
    dependencies=[limited_by_session(Limit.SESSION_ENDINGS)],
)
@raises(AuthService.revoke_sessions)
async def end_sessions(user: CurrentUser, use_cases: UseCases) -> None:
    await use_cases.auth.revoke_sessions(user)


@protected.delete(
    "/sessions/{session_id}",
    scope=Scope.ACCOUNT_WRITE,
    without_factor=True,
    status_code=204,
    response_class=Response,
    summary="End one session",
    dependencies=[limited_by_session(Limit.SESSION_ENDINGS)],
)
@raises(AuthService.revoke_session)
async def end_session(
    session_id: Annotated[Id, Path()], user: CurrentUser, use_cases: UseCases
) -> None:
    await use_cases.auth.revoke_session(SessionId(session_id), user)


class JwkSet(JSONResponse):
    media_type = "application/jwk-set+json"


@well_known.get(
    "/.well-known/jwks.json",
    summary="The public keys of access tokens",
    response_class=JwkSet,
)
async def read_keys(response: Response, ports: ServicePorts) -> dict[str, list[dict[str, str]]]:
    """A JWK set (RFC 7517, section 5). It is empty unless tokens are signed with a key pair."""
    response.headers["Cache-Control"] = "public, max-age=300"
    return {"keys": [dict(key) for key in ports.tokens.public_keys]}


def client_info_of(request: Request, *, is_browser: bool = False) -> ClientInfo:
    user_agent = request.headers.get("user-agent", "")[:USER_AGENT_MAX]
    return ClientInfo(
        user_agent="".join(filter(str.isprintable, user_agent)) or None,
        ip=address_of(request),
        is_browser=is_browser,
    )
