"""Proofs of who somebody is after the password: the second step of a login, and fresh sessions."""

from typing import Annotated, Protocol, Self

from fastapi import Request, Response
from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator
from pydantic_core import PydanticCustomError

from api.auth import TokensView, client_info_of
from api.dependencies import CurrentSession, CurrentUser, UseCases
from api.factors import CODE_MAX
from api.limits import limited_by_network
from api.passkeys import AssertionBody
from api.request_context import address_of
from api.routing import protected_router, public_router
from api.users import OMITTABLE, OmittablePassword
from application.challenges import FactorKind
from application.errors import raises
from application.ports.limits import Limit
from application.proofs import ProofService
from application.services import Ports
from domain.scopes import Scope

public = public_router("sessions")
protected = protected_router("sessions")


def is_offered(ports: Ports) -> bool:
    return ports.factor_policy.is_on


CHALLENGE_MAX = 100

Challenge = Annotated[
    SecretStr,
    Field(
        min_length=1, max_length=CHALLENGE_MAX, examples=["qp87n0w46hvA7AykPDSiYe3j0xotZD83kfJd"]
    ),
]
OmittableChallenge = Annotated[Challenge | None, *OMITTABLE]

OmittableCode = Annotated[
    SecretStr | None,
    *OMITTABLE,
    Field(min_length=1, max_length=CODE_MAX, examples=["123456"]),
]
OmittableCredential = Annotated[AssertionBody | None, *OMITTABLE]


class SecondStepBody(BaseModel):
    """One of `code` and `credential` is needed."""

    model_config = ConfigDict(extra="forbid", strict=True)

    challenge: Challenge
    code: OmittableCode = None
    credential: OmittableCredential = None

    @model_validator(mode="after")
    def _one_answer(self) -> Self:
        expect_one(self, "code", "credential")
        return self


class ProofBody(BaseModel):
    """One of `password`, `code` and `credential` is needed."""

    model_config = ConfigDict(extra="forbid", strict=True)

    password: OmittablePassword = None
    code: OmittableCode = None
    credential: OmittableCredential = None

    @model_validator(mode="after")
    def _one_answer(self) -> Self:
        expect_one(self, "password", "code", "credential")
        return self


def expect_one(body: BaseModel, *names: str) -> None:
    """Raise an error of the validation unless `body` has exactly one of these members."""
    if sum(getattr(body, name) is not None for name in names) != 1:
        raise PydanticCustomError("one_of", f"Exactly one of {', '.join(names)} is needed")


@public.post(
    "/login/second-factor",
    summary="Finish a login",
    description="With the `challenge` that a right password got, and a second factor. A challenge"
    " takes five tries.",
    dependencies=[limited_by_network(Limit.LOGINS)],
)
@raises(ProofService.second_step)
async def finish_login(
    body: SecondStepBody, request: Request, response: Response, use_cases: UseCases
) -> TokensView:
    login = await use_cases.of(ProofService).second_step(
        body.challenge.get_secret_value(), *answer_of(body), client_info_of(request)
    )
    response.headers["Cache-Control"] = "no-store"
    return TokensView.of(login)


@protected.post(
    "/sessions/current/proof",
    scope=Scope.SESSION_ONLY,
    without_factor=True,
    status_code=204,
    response_class=Response,
    summary="Prove again who you are",
    description="Makes the session fresh. On an account with a second factor only the factor does.",
    dependencies=[limited_by_network(Limit.LOGINS)],
)
@raises(ProofService.prove_password, ProofService.prove_factor)
async def prove(
    body: ProofBody,
    request: Request,
    user: CurrentUser,
    session: CurrentSession,
    use_cases: UseCases,
) -> None:
    proofs, ip = use_cases.of(ProofService), address_of(request)
    if body.password is not None:
        await proofs.prove_password(user, session, body.password.get_secret_value(), ip=ip)
    else:
        await proofs.prove_factor(user, session, *answer_of(body), ip=ip)


class _Answer(Protocol):
    code: SecretStr | None
    credential: AssertionBody | None


def answer_of(body: _Answer) -> tuple[FactorKind, object]:
    """The second factor in a body, as `ProofService` takes it."""
    if body.credential is not None:
        return FactorKind.CREDENTIAL, body.credential.to_domain()
    return FactorKind.CODE, body.code.get_secret_value() if body.code else ""
