"""The page of one's own passkeys."""

from typing import Annotated

from fastapi import Path, Request, Response
from pydantic import BaseModel, Json

from api.console.forms import Text, submitted
from api.console.rendering import go, page
from api.console.routing import open_pages
from api.dependencies import CurrentSession, CurrentUser, UseCases
from api.ids import Id
from api.passkeys import AttestationBody
from application.factors import FactorService
from application.passkeys import PasskeyService
from application.services import Services
from domain.errors import DomainError
from domain.factors import StaleLogin
from domain.passkeys import PasskeyId
from domain.users import User

pages = open_pages()

PasskeyPath = Annotated[Id, Path()]


class NewPasskeyEntry(BaseModel):
    name: Text
    credential: Json[AttestationBody]


class NameEntry(BaseModel):
    name: Text


@pages.get("/console/passkeys")
async def show_passkeys(request: Request, user: CurrentUser, use_cases: UseCases) -> Response:
    return await _passkeys(request, user, use_cases)


async def _passkeys(
    request: Request, user: User, use_cases: Services, error: DomainError | None = None
) -> Response:
    return page(
        request,
        "passkeys.html",
        error=error,
        has_script=True,
        passkeys=await use_cases.of(PasskeyService).passkeys(user),
        factors=await use_cases.of(FactorService).status(user),
    )


@pages.post("/console/passkeys")
async def add_passkey(
    request: Request, user: CurrentUser, session: CurrentSession, use_cases: UseCases
) -> Response:
    try:
        form = await submitted(request, NewPasskeyEntry)
        attestation = form.credential.to_domain()
        await use_cases.of(PasskeyService).enrol(user, session, form.name, attestation)
    except StaleLogin:
        raise
    except DomainError as error:
        return await _passkeys(request, user, use_cases, error)
    return go(request, "/console/passkeys", done="passkey-added")


@pages.post("/console/passkeys/{passkey_id}/name")
async def rename_passkey(
    passkey_id: PasskeyPath, request: Request, user: CurrentUser, use_cases: UseCases
) -> Response:
    try:
        form = await submitted(request, NameEntry)
        await use_cases.of(PasskeyService).rename(user, PasskeyId(passkey_id), form.name)
    except DomainError as error:
        return await _passkeys(request, user, use_cases, error)
    return go(request, "/console/passkeys", done="passkey-renamed")


@pages.post("/console/passkeys/{passkey_id}/delete")
async def delete_passkey(
    passkey_id: PasskeyPath,
    request: Request,
    user: CurrentUser,
    session: CurrentSession,
    use_cases: UseCases,
) -> Response:
    await use_cases.of(PasskeyService).remove(user, session, PasskeyId(passkey_id))
    return go(request, "/console/passkeys", done="passkey-deleted")
