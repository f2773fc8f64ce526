"""Passkeys: enrolment, login, and the list of one's own."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Path, Request, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from api.auth import TokensView, client_info_of
from api.dependencies import CurrentSession, CurrentUser, FreshUser, UseCases
from api.ids import Id
from api.limits import limited_by_network
from api.routing import protected_router, public_router
from api.users import NAME_PATTERN
from application.errors import raises
from application.passkeys import PasskeyService
from application.ports.limits import Limit
from application.services import Ports
from domain.passkeys import NAME_MAX, Assertion, Attestation, Passkey, PasskeyId, from_base64url
from domain.scopes import Scope

public = public_router("sessions")
protected = protected_router("users")


def is_offered(ports: Ports) -> bool:
    return ports.has_passkeys


def _decoded(value: object) -> bytes:
    if isinstance(value, str):
        try:
            return from_base64url(value)
        except ValueError:
            pass
    raise PydanticCustomError("base64url", "Input should be unpadded base64url (RFC 4648, 5)")


Base64Url = Annotated[
    bytes,
    BeforeValidator(_decoded),
    WithJsonSchema({"type": "string", "pattern": "^[A-Za-z0-9_-]*$"}),
]


class AttestationResponse(BaseModel):
    """`AuthenticatorAttestationResponseJSON`. Other members are ignored."""

    client_data: Base64Url = Field(alias="clientDataJSON", repr=False)
    attestation_object: Base64Url = Field(alias="attestationObject", repr=False)


class AssertionResponse(BaseModel):
    """`AuthenticatorAssertionResponseJSON`. Other members are ignored."""

    client_data: Base64Url = Field(alias="clientDataJSON", repr=False)
    authenticator_data: Base64Url = Field(alias="authenticatorData", repr=False)
    signature: Base64Url = Field(repr=False)
    user_handle: Base64Url | None = Field(None, alias="userHandle", repr=False)


class AttestationBody(BaseModel):
    """What `navigator.credentials.create()` gave, by its `toJSON()` (Web Authentication Level 3,
    section 5.1.8, `RegistrationResponseJSON`). Other members are ignored.
    """

    id: Base64Url = Field(repr=False)
    type: Literal["public-key"]
    response: AttestationResponse

    def to_domain(self) -> Attestation:
        return Attestation(
            credential_id=self.id,
            client_data=self.response.client_data,
            attestation_object=self.response.attestation_object,
        )


class AssertionBody(BaseModel):
    """What `navigator.credentials.get()` gave, by its `toJSON()` (Web Authentication Level 3,
    section 5.1.8, `AuthenticationResponseJSON`). Other members are ignored.
    """

    id: Base64Url = Field(repr=False)
    type: Literal["public-key"]
    response: AssertionResponse

    def to_domain(self) -> Assertion:
        return Assertion(
            credential_id=self.id,
            client_data=self.response.client_data,
            authenticator_data=self.response.authenticator_data,
            signature=self.response.signature,
            user_handle=self.response.user_handle,
        )


class PasskeyLoginBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    credential: AssertionBody


# The domain checks it, so that a refused name has one error. White space around it does not count.
PasskeyName = Annotated[
    str,
    Field(
        json_schema_extra={"minLength": 1, "maxLength": NAME_MAX, "pattern": NAME_PATTERN},
        examples=["My phone"],
    ),
]


class NewPasskeyBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: PasskeyName
    credential: AttestationBody


class PasskeyNameBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: PasskeyName


class PasskeyView(BaseModel):
    id: int = Field(examples=[1])
    name: str = Field(examples=["My phone"])
    created_at: datetime
    last_used_at: datetime | None = Field(description="Time of the last login, step or proof by it")
    backed_up: bool = Field(description="Whether its authenticator has copied it to other devices")

    @classmethod
    def of(cls, passkey: Passkey) -> "PasskeyView":
        return cls(
            id=passkey.id,
            name=passkey.name,
            created_at=passkey.created_at,
            last_used_at=passkey.last_used_at,
            backed_up=passkey.state.backed_up,
        )


PasskeyPath = Annotated[Id, Path()]


@public.post(
    "/login/passkey/options",
    summary="Get the options of a login by passkey",
    dependencies=[limited_by_network(Limit.LOGINS)],
)
@raises(PasskeyService.login_options)
async def passkey_login_options(response: Response, use_cases: UseCases) -> dict[str, Any]:
    """`PublicKeyCredentialRequestOptionsJSON` for `navigator.credentials.get()`, the same for
    everybody but for the challenge. It is answered within five minutes, once.
    """
    response.headers["Cache-Control"] = "no-store"
    return dict(await use_cases.of(PasskeyService).login_options())


@public.post(
    "/login/passkey",
    summary="Log in by a passkey",
    dependencies=[limited_by_network(Limit.LOGINS)],
)
@raises(PasskeyService.login)
async def log_in_by_passkey(
    body: PasskeyLoginBody, request: Request, response: Response, use_cases: UseCases
) -> TokensView:
    client = client_info_of(request)
    login = await use_cases.of(PasskeyService).login(body.credential.to_domain(), client)
    response.headers["Cache-Control"] = "no-store"
    return TokensView.of(login)


@protected.post(
    "/users/me/passkeys/options",
    scope=Scope.SESSION_ONLY,
    without_factor=True,
    summary="Get the options of a new passkey",
)
@raises(PasskeyService.enrolment_options)
async def passkey_options(
    user: FreshUser, session: CurrentSession, response: Response, use_cases: UseCases
) -> dict[str, Any]:
    """`PublicKeyCredentialCreationOptionsJSON` for `navigator.credentials.create()`. They are
    answered within five minutes, once.
    """
    response.headers["Cache-Control"] = "no-store"
    return dict(await use_cases.of(PasskeyService).enrolment_options(user, session))


@protected.post(
    "/users/me/passkeys",
    scope=Scope.SESSION_ONLY,
    without_factor=True,
    status_code=201,
    summary="Add a passkey",
)
@raises(PasskeyService.enrol)
async def add_passkey(
    body: NewPasskeyBody, user: FreshUser, session: CurrentSession, use_cases: UseCases
) -> PasskeyView:
    """The account then has a second factor, if it had none: a password alone logs nobody in."""
    attestation = body.credential.to_domain()
    added = await use_cases.of(PasskeyService).enrol(user, session, body.name, attestation)
    return PasskeyView.of(added)


@protected.get(
    "/users/me/passkeys",
    scope=Scope.ACCOUNT_READ,
    without_factor=True,
    summary="List own passkeys",
)
@raises(PasskeyService.passkeys)
async def list_passkeys(user: CurrentUser, use_cases: UseCases) -> list[PasskeyView]:
    return [PasskeyView.of(each) for each in await use_cases.of(PasskeyService).passkeys(user)]


@protected.patch(
    "/users/me/passkeys/{passkey_id}",
    scope=Scope.SESSION_ONLY,
    without_factor=True,
    summary="Rename a passkey",
)
@raises(PasskeyService.rename)
async def rename_passkey(
    passkey_id: PasskeyPath, body: PasskeyNameBody, user: CurrentUser, use_cases: UseCases
) -> PasskeyView:
    service = use_cases.of(PasskeyService)
    return PasskeyView.of(await service.rename(user, PasskeyId(passkey_id), body.name))


@protected.delete(
    "/users/me/passkeys/{passkey_id}",
    scope=Scope.SESSION_ONLY,
    without_factor=True,
    status_code=204,
    response_class=Response,
    summary="Delete a passkey",
)
@raises(PasskeyService.remove)
async def remove_passkey(
    passkey_id: PasskeyPath, user: FreshUser, session: CurrentSession, use_cases: UseCases
) -> None:
    """After the last one an account without another factor has none: its password logs in."""
    await use_cases.of(PasskeyService).remove(user, session, PasskeyId(passkey_id))
