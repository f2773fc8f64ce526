"""Second factors: the authenticator app and recovery codes of a user."""

from datetime import datetime
from io import BytesIO
from typing import Annotated

import segno
from fastapi import Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from api.auth import SessionView
from api.dependencies import CurrentSession, CurrentUser, FreshUser, UseCases
from api.ids import Id
from api.limits import limited_by_session
from api.passkeys import PasskeyView
from api.request_context import request_context
from api.routing import protected_router
from application.administration import AdministrationService
from application.errors import raises
from application.factors import FactorService
from application.passkeys import passkeys_of
from application.ports.limits import Limit
from application.services import Ports
from domain.scopes import Scope
from domain.users import UserId

protected = protected_router("second factors")
administration = protected_router("administration")


def is_offered(ports: Ports) -> bool:
    return ports.factor_policy.is_on


CODE_MAX = 64


class CodeBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    code: SecretStr = Field(min_length=1, max_length=CODE_MAX, examples=["123456"])


class TotpView(BaseModel):
    confirmed_at: datetime


class FactorsView(BaseModel):
    totp: TotpView | None = Field(description="null without an authenticator app in force")
    recovery_codes_left: int = Field(examples=[10])
    passkeys: list[PasskeyView]


class TotpEnrolmentView(BaseModel):
    secret: str = Field(repr=False, description="In base32, for apps without a camera")
    otpauth_uri: str = Field(repr=False, description="What the QR code says")
    qr_svg: str = Field(repr=False, description="The QR code as an SVG image")


class RecoveryCodesView(BaseModel):
    recovery_codes: list[str] = Field(
        repr=False, description="Each works once", examples=[["mfzw-izlg-nbuw-w3dn-orsx-g5bo"]]
    )


@protected.get(
    "/users/me/factors",
    scope=Scope.ACCOUNT_READ,
    without_factor=True,
    summary="Own second factors",
)
@raises(FactorService.status, passkeys_of)
async def read_factors(user: CurrentUser, use_cases: UseCases) -> FactorsView:
    status = await use_cases.of(FactorService).status(user)
    confirmed_at = status.totp_confirmed_at
    return FactorsView(
        totp=None if confirmed_at is None else TotpView(confirmed_at=confirmed_at),
        recovery_codes_left=status.recovery_codes_left,
        passkeys=[PasskeyView.of(each) for each in await passkeys_of(use_cases.ports, user)],
    )


@protected.post(
    "/users/me/totp",
    scope=Scope.SESSION_ONLY,
    without_factor=True,
    status_code=201,
    summary="Add an authenticator app",
    description="Shows the secret once. It is not in force until `PUT /users/me/totp` had a code.",
)
@raises(FactorService.start_totp)
async def start_totp(
    user: FreshUser, session: CurrentSession, response: Response, use_cases: UseCases
) -> TotpEnrolmentView:
    enrolment = await use_cases.of(FactorService).start_totp(user, session)
    response.headers["Cache-Control"] = "no-store"
    return TotpEnrolmentView(
        secret=enrolment.secret, otpauth_uri=enrolment.uri, qr_svg=qr_svg(enrolment.uri)
    )


@protected.put(
    "/users/me/totp",
    scope=Scope.SESSION_ONLY,
    without_factor=True,
    summary="Confirm the authenticator app",
    description="From now on a login takes its code. Shows recovery codes once; the ones from"
    " before are void.",
)
@raises(FactorService.confirm_totp)
async def confirm_totp(
    body: CodeBody,
    user: CurrentUser,
    _: CurrentSession,
    response: Response,
    use_cases: UseCases,
) -> RecoveryCodesView:
    codes = await use_cases.of(FactorService).confirm_totp(user, body.code.get_secret_value())
    response.headers["Cache-Control"] = "no-store"
    return RecoveryCodesView(recovery_codes=codes)


@protected.delete(
    "/users/me/totp",
    scope=Scope.SESSION_ONLY,
    without_factor=True,
    status_code=204,
    response_class=Response,
    summary="Remove the authenticator app",
)
@raises(FactorService.remove_totp)
async def remove_totp(user: FreshUser, session: CurrentSession, use_cases: UseCases) -> None:
    await use_cases.of(FactorService).remove_totp(user, session)


@protected.post(
    "/users/me/recovery-codes",
    scope=Scope.SESSION_ONLY,
    without_factor=True,
    status_code=201,
    summary="Make new recovery codes",
    description="Shows them once. The ones from before are void.",
)
@raises(FactorService.new_recovery_codes)
async def make_recovery_codes(
    user: FreshUser, session: CurrentSession, response: Response, use_cases: UseCases
) -> RecoveryCodesView:
    codes = await use_cases.of(FactorService).new_recovery_codes(user, session)
    response.headers["Cache-Control"] = "no-store"
    return RecoveryCodesView(recovery_codes=codes)


@administration.delete(
    "/users/{user_id}/factors",
    scope=Scope.SESSION_ONLY,
    status_code=204,
    response_class=Response,
    summary="Remove all second factors of a user",
    description="For somebody who has lost them. Ends all their sessions.",
)
@raises(FactorService.remove_all)
async def remove_factors(
    user_id: Annotated[Id, Path()], user: FreshUser, session: CurrentSession, use_cases: UseCases
) -> None:
    await use_cases.of(FactorService).remove_all(user, session, UserId(user_id))


@administration.get(
    "/users/{user_id}/sessions",
    scope=Scope.ADMIN,
    summary="List the sessions of a user",
)
@raises(AdministrationService.sessions)
async def list_sessions_of_user(
    user_id: Annotated[Id, Path()], request: Request, user: CurrentUser, use_cases: UseCases
) -> list[SessionView]:
    sessions = await use_cases.administration.sessions(user, UserId(user_id))
    current = request_context(request).session
    return [SessionView.of(session, current) for session in sessions]


@administration.delete(
    "/users/{user_id}/sessions",
    scope=Scope.ADMIN,
    status_code=204,
    response_class=Response,
    summary="End all sessions of a user",
    dependencies=[limited_by_session(Limit.SESSION_ENDINGS)],
)
@raises(AdministrationService.revoke_sessions)
async def end_sessions_of_user(
    user_id: Annotated[Id, Path()], user: CurrentUser, use_cases: UseCases
) -> None:
    await use_cases.administration.revoke_sessions(user, UserId(user_id))


def qr_svg(text: str) -> str:
    buffer = BytesIO()
    segno.make(text, error="m").save(
        buffer, kind="svg", scale=4, xmldecl=False, svgclass=None, lineclass=None
    )
    return buffer.getvalue().decode().strip()
