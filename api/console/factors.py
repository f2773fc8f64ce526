"""Pages of second factors, and the proof that makes a session fresh."""

from fastapi import Request, Response
from pydantic import BaseModel

from api.console.forms import EnteredPassword, entered, submitted
from api.console.logins import PasskeyEntry
from api.console.rendering import go, local_path, page
from api.console.routing import open_pages
from api.dependencies import CurrentSession, CurrentUser, UseCases
from api.factors import qr_svg
from api.limits import limited_by_network
from api.request_context import address_of
from application.challenges import FactorKind
from application.factors import FactorService
from application.ports.limits import Limit
from application.proofs import ProofService
from application.services import Services
from domain.errors import DomainError
from domain.users import User

pages = open_pages()


class ProofEntry(BaseModel):
    """The password, or a code on an account with a second factor."""

    proof: EnteredPassword


class CodeEntry(BaseModel):
    code: EnteredPassword


@pages.get("/console/proof")
async def show_proof(request: Request, user: CurrentUser, use_cases: UseCases) -> Response:
    back = local_path(request.query_params.get("return"))
    return await _proof(request, user, use_cases, back)


async def _proof(
    request: Request, user: User, use_cases: Services, back: str, error: DomainError | None = None
) -> Response:
    methods = await use_cases.of(ProofService).methods(user) if user.second_factor else ()
    has_passkey = "passkey" in methods
    return page(
        request, "proof.html", error=error, has_script=has_passkey, back=back, methods=methods
    )


@pages.post("/console/proof", dependencies=[limited_by_network(Limit.LOGINS)])
async def prove(
    request: Request, user: CurrentUser, session: CurrentSession, use_cases: UseCases
) -> Response:
    fields = await entered(request)
    back = local_path(fields.get("return"))
    proofs, ip = use_cases.of(ProofService), address_of(request)
    try:
        if FactorKind.CREDENTIAL in fields:
            answer = (await submitted(request, PasskeyEntry)).credential.to_domain()
            await proofs.prove_factor(user, session, FactorKind.CREDENTIAL, answer, ip=ip)
            return go(request, back, done="proved")
        proof = (await submitted(request, ProofEntry)).proof.get_secret_value()
        if user.second_factor:
            await proofs.prove_factor(user, session, FactorKind.CODE, proof, ip=ip)
        else:
            await proofs.prove_password(user, session, proof, ip=ip)
    except DomainError as error:
        return await _proof(request, user, use_cases, back, error)
    return go(request, back, done="proved")


@pages.post("/console/totp")
async def start_totp(
    request: Request, user: CurrentUser, session: CurrentSession, use_cases: UseCases
) -> Response:
    enrolment = await use_cases.of(FactorService).start_totp(user, session)
    return page(request, "totp.html", secret=enrolment.secret, qr=qr_svg(enrolment.uri))


@pages.post("/console/totp/confirm")
async def confirm_totp(request: Request, user: CurrentUser, use_cases: UseCases) -> Response:
    try:
        form = await submitted(request, CodeEntry)
        codes = await use_cases.of(FactorService).confirm_totp(user, form.code.get_secret_value())
    except DomainError as error:
        return page(request, "totp.html", error=error, secret="", qr="")
    return page(request, "recovery_codes.html", codes=codes)


@pages.post("/console/totp/remove")
async def remove_totp(
    request: Request, user: CurrentUser, session: CurrentSession, use_cases: UseCases
) -> Response:
    await use_cases.of(FactorService).remove_totp(user, session)
    return go(request, "/console/security", done="app-removed")


@pages.post("/console/recovery-codes")
async def make_recovery_codes(
    request: Request, user: CurrentUser, session: CurrentSession, use_cases: UseCases
) -> Response:
    codes = await use_cases.of(FactorService).new_recovery_codes(user, session)
    return page(request, "recovery_codes.html", codes=codes)
