"""Accounts."""

from datetime import datetime
from typing import Annotated, Literal

from email_validator import EmailNotValidError, validate_email
from fastapi import APIRouter, Path, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, StringConstraints
from pydantic_core import PydanticCustomError

from api.dependencies import CurrentUser, UseCases
from api.errors import documented
from api.limits import limit_network
from application.ports.limits import Limit
from domain.policies import may_see_account
from domain.users import EMAIL_MAX, NAME_MAX, User, UserDraft, UserId

public = APIRouter(tags=["users"], generate_unique_id_function=lambda route: route.name)
protected = APIRouter(tags=["users"], generate_unique_id_function=lambda route: route.name)

ID_MAX = 2**63 - 1


def email_address(value: str) -> str:
    """The one form in which an address is registered and looked for; else ValueError."""
    try:
        return validate_email(value, check_deliverability=False).normalized
    except EmailNotValidError:
        # The library's own words repeat the input.
        raise PydanticCustomError("email", "Input should be an e-mail address") from None


EmailAddress = Annotated[
    str,
    StringConstraints(max_length=EMAIL_MAX),
    AfterValidator(email_address),
    Field(json_schema_extra={"format": "email"}, examples=["anna@example.com"]),
]
Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=NAME_MAX),
    Field(examples=["Anna"]),
]


def _encodable(value: SecretStr) -> SecretStr:
    try:
        value.get_secret_value().encode()
    except UnicodeEncodeError:  # of half a surrogate pair, which pydantic lets through in secrets
        raise PydanticCustomError("string_unicode", "Input should be valid Unicode") from None
    return value


Password = Annotated[
    SecretStr, AfterValidator(_encodable), Field(examples=["correct horse battery"])
]


class Registration(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    email: EmailAddress
    password: Password
    name: Name | None = None

    def to_draft(self) -> UserDraft:
        return UserDraft(email=self.email, name=self.name)


class PublicUserView(BaseModel):
    """What everybody may know of a user."""

    id: int = Field(examples=[1])
    name: str | None = Field(examples=["Anna"])
    created_at: datetime

    @classmethod
    def of(cls, user: User) -> "PublicUserView":
        return cls(id=user.id, name=user.name, created_at=user.created_at)


class UserView(BaseModel):
    """What a user and admins may know."""

    id: int = Field(examples=[1])
    email: str = Field(examples=["anna@example.com"])
    name: str | None = Field(examples=["Anna"])
    role: Literal["member", "moderator", "admin"]
    is_active: bool
    is_verified: bool
    created_at: datetime

    @classmethod
    def of(cls, user: User) -> "UserView":
        return cls(
            id=user.id,
            email=user.email,
            name=user.name,
            role=user.role.value,
            is_active=user.is_active,
            is_verified=user.is_verified,
            created_at=user.created_at,
        )


@public.post(
    "/users", status_code=201, summary="Register", responses=documented(409, 415, 422, 429, 503)
)
async def register(
    body: Registration, request: Request, response: Response, use_cases: UseCases
) -> UserView:
    await limit_network(request, Limit.REGISTRATIONS)
    user = await use_cases.accounts.register(body.to_draft(), body.password.get_secret_value())
    response.headers["Location"] = f"{request.scope.get('root_path', '')}/users/{user.id}"
    return UserView.of(user)


@protected.get("/users/me", summary="The current user", responses=documented(401, 503))
async def read_current_user(user: CurrentUser) -> UserView:
    return UserView.of(user)


@protected.get("/users/{user_id}", summary="One user", responses=documented(401, 404, 422, 503))
async def read_user(
    user_id: Annotated[int, Path(ge=1, le=ID_MAX)], user: CurrentUser, use_cases: UseCases
) -> UserView | PublicUserView:
    subject = await use_cases.accounts.user(UserId(user_id))
    return UserView.of(subject) if may_see_account(user, subject) else PublicUserView.of(subject)
