"""Pages of second factors, and the proof that makes a session fresh."""

from fastapi import Request, Response
from pydantic import BaseModel

from api.console.forms import EnteredPassword, entered, submitted
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
from domain.errors import DomainError

pages = open_pages()


class ProofEntry(BaseModel):
    """The password, or a code on an account with a second factor."""

    proof: EnteredPassword


class CodeEntry(BaseModel):
    code: EnteredPassword


@pages.get("/console/proof")
async def show_proof(request: Request) -> Response:
    return page(request, "proof.html", back=local_path(request.query_params.get("return")))


@pages.post("/console/proof", dependencies=[limited_by_network(Limit.LOGINS)])
async def prove(
    request: Request, user: CurrentUser, session: CurrentSession, use_cases: UseCases
) -> Response:
    back = local_path((await entered(request)).get("return"))
    proofs, ip = use_cases.of(ProofService), address_of(request)
    try:
        proof = (await submitted(request, ProofEntry)).proof.get_secret_value()
        if user.second_factor:
            await proofs.prove_factor(user, session, FactorKind.CODE, proof, ip=ip)
        else:
            await proofs.prove_password(user, session, proof, ip=ip)
    except DomainError as error:
        return page(request, "proof.html", error=error, back=back)
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
