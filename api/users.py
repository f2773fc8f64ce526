"""Accounts."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from fastapi import Path, Request, Response
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    model_validator,
)
from pydantic_core import PydanticCustomError

from api.dependencies import CurrentUser, UseCases
from api.ids import Id
from api.limits import limited_by_network, limited_by_session
from api.request_context import address_of, request_context
from api.routing import protected_router, public_router
from application.accounts import AccountService
from application.errors import raises
from application.ports.limits import Limit, Limits, account_hit
from application.registrations import RegistrationService
from domain.addresses import EMAIL_MAX, BadEmail, normal_address
from domain.passwords import PASSWORD_INPUT_MAX
from domain.registrations import RegistrationMode
from domain.scopes import Scope
from domain.sessions import InvalidToken
from domain.users import NAME_MAX, ProfileChange, User, UserDraft, UserId

public = public_router("users")
protected = protected_router("users")

with_password = protected_router("users")
"""Routes that ask for a password: not there when an outside provider logs users in."""
external = protected_router("users")
"""Their counterparts, which ask for none: only there when an outside provider logs users in."""


def _email_address(value: str) -> str:
    """The normal form of an address. Raises PydanticCustomError, which does not repeat it."""
    try:
        return normal_address(value)
    except BadEmail:
        raise PydanticCustomError("email", "Input should be an e-mail address") from None


EmailAddress = Annotated[
    str,
    StringConstraints(max_length=EMAIL_MAX),
    AfterValidator(_email_address),
    Field(json_schema_extra={"format": "email"}, examples=["anna@example.com"]),
]
_CONTROLS = r"\u0000-\u001f\u007f-\u009f\u2028\u2029"
NAME_PATTERN = rf"^[^{_CONTROLS}]*[^\s{_CONTROLS}][^{_CONTROLS}]*$"
"""Without what the domain refuses, and with something that trimming leaves."""

Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=NAME_MAX),
    Field(json_schema_extra={"pattern": NAME_PATTERN}, examples=["Anna"]),
]


def _not_null(value: object) -> object:
    if value is None:
        raise PydanticCustomError("null", "Input should not be null")
    return value


def _without_null(schema: dict[str, Any]) -> None:
    (kind,) = (kind for kind in schema.pop("anyOf") if kind != {"type": "null"})
    schema.pop("default")
    schema.update(kind)


OMITTABLE = (BeforeValidator(_not_null), Field(json_schema_extra=_without_null))
"""Marks a member of type `X | None` that may be left out, but must not be null."""


def _encodable(value: SecretStr) -> SecretStr:
    try:
        value.get_secret_value().encode()
    except UnicodeEncodeError:  # of half a surrogate pair, which pydantic lets through in secrets
        raise PydanticCustomError("string_unicode", "Input should be valid Unicode") from None
    return value


Password = Annotated[
    SecretStr,
    AfterValidator(_encodable),
    Field(max_length=PASSWORD_INPUT_MAX, examples=["correct horse battery"]),
]
# The maximum is documented alone: the domain refuses what is longer, as `weak_password`.
NewPassword = Annotated[
    SecretStr,
    AfterValidator(_encodable),
    Field(json_schema_extra={"maxLength": PASSWORD_INPUT_MAX}, examples=["correct horse battery"]),
]


OmittableEmailAddress = Annotated[EmailAddress | None, *OMITTABLE]
OmittablePassword = Annotated[Password | None, *OMITTABLE]


class Registration(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    email: EmailAddress
    password: NewPassword
    name: Name | None = None

    def to_draft(self) -> UserDraft:
        return UserDraft(email=self.email, name=self.name)


class ProfileBody(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"dependentRequired": {"email": ["current_password"]}},
    )

    name: Name | None = Field(None, description="null clears it; left out, it stays")
    email: OmittableEmailAddress = None
    current_password: OmittablePassword = None

    @model_validator(mode="after")
    def _password_with_email(self) -> Self:
        if self.email is not None and self.current_password is None:
            raise PydanticCustomError("missing", "current_password is needed to change email")
        return self

    def to_change(self) -> ProfileChange:
        renames = "name" in self.model_fields_set
        return ProfileChange(email=self.email, name=self.name, renames=renames)


class ExternalProfileBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: Name | None = Field(None, description="null clears it; left out, it stays")

    def to_change(self) -> ProfileChange:
        return ProfileChange(name=self.name, renames="name" in self.model_fields_set)


class DeletionBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    current_password: Password


class NewPasswordBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    current_password: Password
    new_password: NewPassword


@dataclass(slots=True, kw_only=True)
class PublicUserView:
    """The public fields of a user."""

    id: Annotated[int, Field(examples=[1])]
    name: Annotated[str | None, Field(examples=["Anna"])]
    created_at: datetime

    @classmethod
    def of(cls, user: User) -> "PublicUserView":
        return cls(id=user.id, name=user.name, created_at=user.created_at)


@dataclass(slots=True, kw_only=True)
class UserView:
    """All fields of a user, for that user and admins."""

    id: Annotated[int, Field(examples=[1])]
    email: Annotated[str, Field(examples=["anna@example.com"])]
    pending_email: Annotated[
        str | None,
        Field(description="Replaces `email` when the token mailed to it comes back"),
    ]
    name: Annotated[str | None, Field(examples=["Anna"])]
    role: Literal["member", "moderator", "admin"]
    is_active: bool
    is_verified: bool
    second_factor: Annotated[
        bool, Field(description="Whether a login takes a second factor or a passkey")
    ]
    created_at: datetime

    @classmethod
    def of(cls, user: User) -> "UserView":
        return cls(
            id=user.id,
            email=user.email,
            pending_email=user.pending_email,
            name=user.name,
            role=user.role.value,
            is_active=user.is_active,
            is_verified=user.is_verified,
            second_factor=user.second_factor,
            created_at=user.created_at,
        )


@public.post(
    "/users",
    status_code=201,
    response_model=UserView,
    summary="Register",
    responses={
        202: {
            "description": "With REGISTRATION=quiet, for a free and a taken address. A mail has the"
            " token that completes the registration at POST /verification."
        },
    },
    dependencies=[limited_by_network(Limit.REGISTRATIONS)],
)
@raises(AccountService.register, RegistrationService.ask)
async def register(
    body: Registration, request: Request, response: Response, use_cases: UseCases
) -> UserView | Response:
    draft, password, ip = body.to_draft(), body.password.get_secret_value(), address_of(request)
    if use_cases.ports.registration is not RegistrationMode.OPEN:
        await use_cases.of(RegistrationService).ask(draft, password, ip=ip)
        return Response(status_code=202)
    user = await use_cases.accounts.register(draft, password, ip=ip)
    response.headers["Location"] = f"{request.scope.get('root_path', '')}/users/{user.id}"
    return UserView.of(user)


@protected.get(
    "/users/me",
    scope=Scope.ACCOUNT_READ,
    without_factor=True,
    summary="The current user",
)
async def read_current_user(user: CurrentUser) -> UserView:
    return UserView.of(user)


@with_password.patch(
    "/users/me",
    scope=Scope.ACCOUNT_WRITE,
    summary="Change name and address",
)
@raises(AccountService.edit, Limits.hit)
async def edit_current_user(
    body: ProfileBody, request: Request, user: CurrentUser, use_cases: UseCases
) -> UserView:
    secret = body.current_password
    current_password = secret.get_secret_value() if secret else None
    if body.email is not None:  # whose address it is, nobody knows yet
        subject = f"user:{user.id}"
        hit = account_hit(Limit.ACCOUNT_RESETS, body.email, "verification", subject=subject)
        await use_cases.limits.hit(hit)
    edited = await use_cases.accounts.edit(
        user, body.to_change(), current_password, ip=address_of(request)
    )
    return UserView.of(edited)


@with_password.post(
    "/users/me/deletion",
    scope=Scope.SESSION_ONLY,
    status_code=204,
    response_class=Response,
    summary="Delete the account and all that is its user's",
)
@raises(AccountService.delete)
async def delete_current_user(
    body: DeletionBody, request: Request, user: CurrentUser, use_cases: UseCases
) -> None:
    password = body.current_password.get_secret_value()
    await use_cases.accounts.delete(user, password, ip=address_of(request))


@external.patch(
    "/users/me",
    scope=Scope.ACCOUNT_WRITE,
    summary="Change the name",
    description="The address is the one that the provider named at the first request.",
)
@raises(User.edit, InvalidToken)
async def edit_external_user(
    body: ExternalProfileBody, user: CurrentUser, use_cases: UseCases
) -> UserView:
    return UserView.of(await use_cases.accounts.edit(user, body.to_change()))


@external.post(
    "/users/me/deletion",
    scope=Scope.SESSION_ONLY,
    status_code=204,
    response_class=Response,
    summary="Delete the account and all that is its user's",
    description="Takes no body. Tokens that the provider has issued until now are dead;"
    " a later one registers its user as somebody new.",
)
@raises(AccountService.delete_external)
async def delete_external_user(user: CurrentUser, use_cases: UseCases) -> None:
    await use_cases.accounts.delete_external(user)


@with_password.put(
    "/users/me/password",
    scope=Scope.SESSION_ONLY,
    status_code=204,
    response_class=Response,
    summary="Change the password",
    dependencies=[limited_by_session(Limit.SESSION_ENDINGS)],
)
@raises(AccountService.change_password)
async def change_password(
    body: NewPasswordBody, request: Request, user: CurrentUser, use_cases: UseCases
) -> None:
    session = request_context(request).session
    await use_cases.accounts.change_password(
        user,
        current=body.current_password.get_secret_value(),
        new=body.new_password.get_secret_value(),
        keep=session.id if session else None,
        ip=address_of(request),
    )


@protected.get(
    "/users/{user_id}",
    scope=Scope.ACCOUNT_READ,
    summary="One user",
)
@raises(AccountService.read)
async def read_user(
    user_id: Annotated[Id, Path()], user: CurrentUser, use_cases: UseCases
) -> UserView | PublicUserView:
    subject, is_visible = await use_cases.accounts.read(UserId(user_id), user)
    return UserView.of(subject) if is_visible else PublicUserView.of(subject)
