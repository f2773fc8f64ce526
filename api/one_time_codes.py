"""One-time codes: verifying an address, and a new password for whoever forgot theirs."""

from typing import Annotated

from fastapi import Request, Response
from pydantic import BaseModel, ConfigDict, Field

from api.dependencies import CurrentUser, UseCases
from api.limits import limited_by_network
from api.request_context import address_of
from api.routing import protected_router, public_router
from api.users import EmailAddress, NewPassword
from application.errors import raises
from application.one_time_codes import OneTimeCodeService
from application.ports.limits import Limit, Limits, account_hit
from application.registrations import confirm
from domain.scopes import Scope

public = public_router("users")
protected = protected_router("users")
resets = public_router("users")

# Without a maximum of its own: a longer text, such as a JWT, is a bad token like any other.
Token = Annotated[str, Field(description="From the mail", repr=False)]


class VerificationBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    token: Token


class ResetRequestBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    email: EmailAddress


class ResetBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    token: Token
    new_password: NewPassword


@protected.post(
    "/users/me/verification",
    scope=Scope.ACCOUNT_WRITE,
    status_code=202,
    response_class=Response,
    summary="Have a mail sent that verifies the address",
)
@raises(OneTimeCodeService.ask_for_verification, Limits.hit)
async def request_verification(user: CurrentUser, use_cases: UseCases) -> None:
    # Whose address it is, nobody knows yet: it gets no more mail than one that forgot a password.
    subject = f"user:{user.id}"
    hit = account_hit(Limit.ACCOUNT_RESETS, user.email, "verification", subject=subject)
    await use_cases.limits.hit(hit)
    await use_cases.codes.ask_for_verification(user)


@public.post(
    "/verification",
    status_code=204,
    response_class=Response,
    summary="Verify an address",
    dependencies=[limited_by_network(Limit.RESETS)],
)
@raises(confirm)
async def verify(body: VerificationBody, use_cases: UseCases) -> None:
    """A pending address replaces the present one. The token of a registration completes it."""
    await confirm(use_cases, body.token)


@resets.post(
    "/email-change/undo",
    status_code=204,
    response_class=Response,
    summary="Undo a change of address",
    dependencies=[limited_by_network(Limit.RESETS)],
)
@raises(OneTimeCodeService.undo_email_change)
async def undo_email_change(body: VerificationBody, use_cases: UseCases) -> None:
    """Within 72 hours, by the token that was mailed to the address before; ends all sessions."""
    await use_cases.codes.undo_email_change(body.token)


@resets.post(
    "/password-reset",
    status_code=202,
    response_class=Response,
    summary="Have a mail sent that allows a new password",
    dependencies=[limited_by_network(Limit.RESETS)],
)
@raises(OneTimeCodeService.ask_for_reset, Limits.hit)
async def request_password_reset(body: ResetRequestBody, use_cases: UseCases) -> None:
    """Accepted for every address, whether somebody has it or not."""
    await use_cases.limits.hit(account_hit(Limit.ACCOUNT_RESETS, body.email))
    await use_cases.codes.ask_for_reset(body.email)


@resets.put(
    "/password-reset",
    status_code=204,
    response_class=Response,
    summary="Choose a new password",
    dependencies=[limited_by_network(Limit.RESETS)],
)
@raises(OneTimeCodeService.reset)
async def reset_password(body: ResetBody, request: Request, use_cases: UseCases) -> None:
    new_password = body.new_password.get_secret_value()
    await use_cases.codes.reset(body.token, new_password, ip=address_of(request))
