"""Personal tokens: the user's own, and those of others for admins."""

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import Path, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from api.dependencies import CurrentSession, CurrentUser, FreshUser, UseCases
from api.ids import Id
from api.limits import limited_by_session
from api.routing import protected_router
from api.users import OMITTABLE, Name
from application.errors import raises
from application.personal_tokens import PersonalTokenService
from application.ports.limits import Limit
from application.services import Ports
from domain.personal_tokens import LIFE, LIFE_MAX, PersonalToken, PersonalTokenId, TokenDraft
from domain.scopes import TOKEN_SCOPES, Scope
from domain.users import UserId

protected = protected_router("tokens")
administration = protected_router("administration")


def is_offered(ports: Ports) -> bool:
    return ports.tokens.has_local_login


_SCOPES = [scope.value for scope in TOKEN_SCOPES]


def _scope(value: str) -> str:
    if value not in _SCOPES:
        raise PydanticCustomError("scope", "Input should be a scope that a token can have")
    return value


TokenScope = Annotated[
    str,
    AfterValidator(_scope),
    Field(json_schema_extra={"enum": _SCOPES}, examples=["account:read"]),
]
Seconds = Annotated[int, Field(ge=1, le=int(LIFE_MAX.total_seconds()))]


class TokenBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: Name = Field(examples=["nightly backup"])
    scopes: list[TokenScope] = Field(min_length=1, examples=[["account:read"]])
    expires_in: Annotated[
        Seconds | None,
        *OMITTABLE,
        Field(description=f"Lifetime in seconds; left out: {LIFE.days} days", examples=[86_400]),
    ] = None

    def to_draft(self) -> TokenDraft:
        life = LIFE if self.expires_in is None else timedelta(seconds=self.expires_in)
        return TokenDraft(name=self.name, scopes=frozenset(map(Scope, self.scopes)), life=life)


class TokenView(BaseModel):
    id: int = Field(examples=[1])
    name: str = Field(examples=["nightly backup"])
    scopes: list[str] = Field(examples=[["account:read"]])
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None = Field(description="To the hour; null: never used")

    @classmethod
    def of(cls, token: PersonalToken) -> "TokenView":
        return cls(**_members(token))


class NewTokenView(TokenView):
    token: str = Field(description="Shown this once", repr=False)


def _members(token: PersonalToken) -> dict[str, object]:
    members = {name: getattr(token, name) for name in TokenView.model_fields}
    return members | {"scopes": [scope.value for scope in token.scopes]}


@protected.post(
    "/tokens",
    scope=Scope.SESSION_ONLY,
    status_code=201,
    summary="Make a personal token",
    description="For scripts: it goes where an access token goes, and may do what its scopes say.",
)
@raises(PersonalTokenService.make)
async def create_token(
    body: TokenBody,
    response: Response,
    user: FreshUser,
    session: CurrentSession,
    use_cases: UseCases,
) -> NewTokenView:
    token, text = await use_cases.personal_tokens.make(body.to_draft(), user, session)
    response.headers["Cache-Control"] = "no-store"
    return NewTokenView(**_members(token), token=text)


@protected.get(
    "/tokens",
    scope=Scope.SESSION_ONLY,
    summary="List own personal tokens",
)
@raises(PersonalTokenService.of)
async def list_tokens(user: CurrentUser, use_cases: UseCases) -> list[TokenView]:
    return [TokenView.of(token) for token in await use_cases.personal_tokens.of(user)]


@protected.delete(
    "/tokens/{token_id}",
    scope=Scope.SESSION_ONLY,
    status_code=204,
    response_class=Response,
    summary="Delete a personal token",
    dependencies=[limited_by_session(Limit.SESSION_ENDINGS)],
)
@raises(PersonalTokenService.delete)
async def delete_token(
    token_id: Annotated[Id, Path()], user: CurrentUser, use_cases: UseCases
) -> None:
    await use_cases.personal_tokens.delete(PersonalTokenId(token_id), user)


@administration.get(
    "/users/{user_id}/tokens",
    scope=Scope.ADMIN,
    summary="List a user's personal tokens",
)
@raises(PersonalTokenService.of_user)
async def list_tokens_of_user(
    user_id: Annotated[Id, Path()], user: CurrentUser, use_cases: UseCases
) -> list[TokenView]:
    tokens = await use_cases.personal_tokens.of_user(UserId(user_id), user)
    return [TokenView.of(token) for token in tokens]


@administration.delete(
    "/users/{user_id}/tokens",
    scope=Scope.ADMIN,
    status_code=204,
    response_class=Response,
    summary="Delete all personal tokens of a user",
    dependencies=[limited_by_session(Limit.SESSION_ENDINGS)],
)
@raises(PersonalTokenService.delete_all)
async def delete_tokens_of_user(
    user_id: Annotated[Id, Path()], user: CurrentUser, use_cases: UseCases
) -> None:
    await use_cases.personal_tokens.delete_all(UserId(user_id), user)
