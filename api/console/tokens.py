"""Pages of personal tokens."""

from datetime import timedelta
from typing import Annotated

from fastapi import Path, Request, Response
from pydantic import BaseModel, Field

from api.console.forms import BadForm, submitted
from api.console.rendering import go, page
from api.console.routing import account_pages
from api.dependencies import CurrentSession, CurrentUser, UseCases
from api.ids import Id
from api.limits import limited_by_session
from api.users import Name
from application.ports.limits import Limit
from application.services import Services
from domain.errors import DomainError
from domain.factors import StaleLogin
from domain.personal_tokens import PersonalTokenId, TokenDraft
from domain.policies import grantable
from domain.scopes import TOKEN_SCOPES, Scope
from domain.users import User

pages = account_pages()


class TokenEntry(BaseModel):
    name: Name
    days: Annotated[int, Field(ge=1, le=366)]


@pages.get("/console/tokens")
async def show_tokens(request: Request, user: CurrentUser, use_cases: UseCases) -> Response:
    return await _tokens(request, user, use_cases)


async def _tokens(
    request: Request,
    user: User,
    use_cases: Services,
    *,
    error: DomainError | None = None,
    made: str = "",
) -> Response:
    scopes = grantable(user)
    return page(
        request,
        "tokens.html",
        error=error,
        made=made,
        tokens=await use_cases.personal_tokens.of(user),
        scopes=[scope for scope in TOKEN_SCOPES if scope in scopes],
    )


@pages.post("/console/tokens")
async def make_token(
    request: Request, user: CurrentUser, session: CurrentSession, use_cases: UseCases
) -> Response:
    """Shows the token once, on the page that answers the form."""
    known = {scope.value: scope for scope in TOKEN_SCOPES}
    try:
        form = await submitted(request, TokenEntry)
        chosen = {str(value) for value in (await request.form()).getlist("scopes")}
        if not chosen or chosen - known.keys():
            raise BadForm({"scopes": "Choose what it may do."})
        draft = TokenDraft(
            name=form.name,
            scopes=frozenset[Scope](known[value] for value in chosen),
            life=timedelta(days=form.days),
        )
        _, made = await use_cases.personal_tokens.make(draft, user, session)
    except StaleLogin:
        raise
    except DomainError as error:
        return await _tokens(request, user, use_cases, error=error)
    return await _tokens(request, user, use_cases, made=made)


@pages.post(
    "/console/tokens/{token_id}/delete", dependencies=[limited_by_session(Limit.SESSION_ENDINGS)]
)
async def delete_token(
    token_id: Annotated[Id, Path()], request: Request, user: CurrentUser, use_cases: UseCases
) -> Response:
    await use_cases.personal_tokens.delete(PersonalTokenId(token_id), user)
    return go(request, "/console/tokens", done="token-deleted")
