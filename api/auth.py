"""Logging in."""

from contextlib import suppress
from typing import Annotated, Literal

from fastapi import APIRouter, Form, Request, Response
from pydantic import BaseModel, Field, SecretStr, StringConstraints

from api.dependencies import UseCases
from api.errors import documented
from api.limits import limit_network
from api.users import email_address
from application.auth import Device, Login
from application.ports.limits import Limit
from domain.users import EMAIL_MAX

public = APIRouter(tags=["sessions"], generate_unique_id_function=lambda route: route.name)

USER_AGENT_MAX = 256


class LoginForm(BaseModel):
    """The password grant's form (RFC 6749, section 4.3.2); what it does not name is ignored."""

    username: Annotated[str, StringConstraints(max_length=EMAIL_MAX)] = Field(
        description="The e-mail address", examples=["anna@example.com"]
    )
    password: SecretStr = Field(examples=["correct horse battery"])
    grant_type: Literal["password"] | None = None


class TokensView(BaseModel):
    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105
    expires_in: int = Field(description="Seconds that the access token lives", examples=[3600])
    refresh_token: str
    refresh_expires_in: int = Field(description="Seconds that the refresh token lives")

    @classmethod
    def of(cls, login: Login) -> "TokensView":
        return cls(
            access_token=login.access_token,
            expires_in=int(login.lifetimes.access.total_seconds()),
            refresh_token=login.refresh_token,
            refresh_expires_in=int(login.lifetimes.refresh.total_seconds()),
        )


@public.post("/login", summary="Log in", responses=documented(401, 415, 422, 429, 503))
async def login(
    form: Annotated[LoginForm, Form()], request: Request, response: Response, use_cases: UseCases
) -> TokensView:
    await limit_network(request, Limit.LOGINS)
    username = form.username
    with suppress(ValueError):  # which is nobody's address then
        username = email_address(username)
    login = await use_cases.auth.login(
        username, form.password.get_secret_value(), device_of(request)
    )
    response.headers["Cache-Control"] = "no-store"
    return TokensView.of(login)


def device_of(request: Request) -> Device:
    user_agent = "".join(filter(str.isprintable, request.headers.get("user-agent", "")))
    return Device(
        user_agent=user_agent[:USER_AGENT_MAX] or None,
        ip=request.client.host if request.client else None,
    )
