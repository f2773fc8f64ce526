"""What OAuth clients and resource servers ask for: introspection, revocation and metadata."""

from typing import Annotated, Literal

from fastapi import Form, Request, Response
from pydantic import BaseModel, Field, SecretStr

from api.dependencies import CurrentUser, ServicePorts, UseCases
from api.errors import RESOURCE_METADATA
from api.limits import UNLIMITED
from api.request_context import base_url
from api.routing import protected_router, public_router
from application.errors import raises
from application.oauth import TokenService, TokenStatus
from domain.scopes import TOKEN_SCOPES, Scope

protected = protected_router("tokens")
public = public_router("tokens")
well_known = public_router("tokens")


class TokenForm(BaseModel):
    """The form of RFC 7009, section 2.1, and RFC 7662, section 2.1. Other fields are ignored."""

    token: SecretStr = Field(description="An access, refresh or personal token", min_length=1)


class IntrospectionView(BaseModel):
    """An introspection response (RFC 7662, section 2.2)."""

    active: bool
    sub: str | None = Field(None, description="The user's id", examples=["1"])
    scope: str | None = Field(None, examples=["account:read account:write"])
    exp: int | None = Field(None, description="Seconds since 1970", examples=[1_800_000_000])
    iat: int | None = Field(None, description="Seconds since 1970", examples=[1_799_996_400])
    token_type: Literal["bearer", "refresh_token"] | None = Field(
        None, description="Only a bearer token authenticates requests"
    )
    username: str | None = Field(None, examples=["anna@example.com"])

    @classmethod
    def of(cls, status: TokenStatus | None) -> "IntrospectionView":
        if status is None:
            return cls(active=False)
        return cls(
            active=True,
            sub=str(status.user.id),
            scope=" ".join(status.scopes),
            exp=int(status.expires_at.timestamp()),
            iat=int(status.issued_at.timestamp()),
            token_type="refresh_token" if status.is_refresh_token else "bearer",
            username=status.user.email,
        )


class ProtectedResourceView(BaseModel):
    """Protected resource metadata (RFC 9728, section 2)."""

    resource: str = Field(description="The address of the service", examples=["https://host"])
    authorization_servers: list[str] | None = Field(
        None, description="Only where an outside provider issues the tokens"
    )
    scopes_supported: list[str] = Field(examples=[["account:read"]])
    bearer_methods_supported: list[Literal["header"]]


@protected.post(
    "/introspect",
    scope=Scope.ADMIN,
    response_model_exclude_none=True,
    summary="What a token is",
    dependencies=[UNLIMITED],
)
@raises(TokenService.introspect)
async def introspect(
    form: Annotated[TokenForm, Form()], response: Response, user: CurrentUser, use_cases: UseCases
) -> IntrospectionView:
    """For resource servers, with a token of an admin that has the scope `admin`."""
    token = form.token.get_secret_value()
    status = await use_cases.of(TokenService).introspect(token, user)
    response.headers["Cache-Control"] = "no-store"
    return IntrospectionView.of(status)


@public.post(
    "/revoke",
    response_class=Response,
    summary="End a token",
)
@raises(TokenService.revoke)
async def revoke(form: Annotated[TokenForm, Form()], use_cases: UseCases) -> None:
    """Deletes a personal token; ends the session of an access or refresh token. Always 200."""
    await use_cases.of(TokenService).revoke(form.token.get_secret_value())


@well_known.get(
    RESOURCE_METADATA,
    response_model_exclude_none=True,
    summary="What the service is to OAuth clients",
)
async def read_protected_resource(
    request: Request, response: Response, ports: ServicePorts
) -> ProtectedResourceView:
    response.headers["Cache-Control"] = "public, max-age=300"
    return ProtectedResourceView(
        resource=base_url(request),
        authorization_servers=list(ports.tokens.authorization_servers) or None,
        scopes_supported=[scope.value for scope in TOKEN_SCOPES],
        bearer_methods_supported=["header"],
    )
