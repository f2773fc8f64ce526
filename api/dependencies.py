"""Dependencies of routes: the services and the current user."""

from typing import Annotated

from fastapi import Depends, Request
from fastapi.requests import HTTPConnection
from fastapi.security import OAuth2PasswordBearer

from api.cookies import SessionCookie, cookie_header, session_cookie
from api.request_context import address_of, request_context
from application.auth import AuthService
from application.browser import BrowserService
from application.errors import raises
from application.outages import OUTAGES
from application.ports.limits import Limit, Limits, network_hits
from application.services import Ports, Services
from domain.factors import must_be_fresh
from domain.personal_tokens import PREFIX
from domain.scopes import TOKEN_SCOPES
from domain.sessions import InvalidToken, NotAuthenticated, Session
from domain.users import User


@raises(OUTAGES)
async def services_of(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


UseCases = Annotated[Services, Depends(services_of)]


async def ports_of(request: Request) -> Ports:
    services: Services = request.app.state.services
    return services.ports


ServicePorts = Annotated[Ports, Depends(ports_of)]
"""For routes that ask no database."""


class BearerToken(OAuth2PasswordBearer):
    """The token of a request, by the strict reading of RFC 6750, section 2.1, or its cookie."""

    async def __call__(self, request: HTTPConnection) -> str:
        return credential(request)


def credential(request: HTTPConnection) -> str:
    """The bearer token, or the `SessionCookie` where there is no Authorization header.

    Raises as `bearer_token` and `session_cookie` do.
    """
    if request_context(request).has_cookie and (cookie := session_cookie(request)):
        return cookie
    return bearer_token(request)


@raises(NotAuthenticated, InvalidToken)
def bearer_token(request: HTTPConnection) -> str:
    """The token of the one Authorization header.

    Raises `NotAuthenticated` without a bearer token, `InvalidToken` for two headers or for
    anything but one token behind the scheme.
    """
    values = [value for name, value in request.scope["headers"] if name == b"authorization"]
    if not values:
        raise NotAuthenticated
    if len(values) > 1:
        raise InvalidToken
    scheme, _, token = values[0].partition(b" ")
    if scheme.lower() != b"bearer":
        raise NotAuthenticated
    token = token.strip(b" ")
    if not token or b" " in token:
        raise InvalidToken
    return str(token, "latin-1")


bearer_scheme = BearerToken(
    tokenUrl="login",
    scheme_name="OAuth2PasswordBearer",
    scopes={scope.value: scope.description for scope in TOKEN_SCOPES},
)


@raises(bearer_token, AuthService.authenticate, BrowserService.authenticate, Limits.hit, OUTAGES)
async def current_user(request: Request, token: Annotated[str, Depends(bearer_scheme)]) -> User:
    """The user whose token or cookie the request carries, as stored at this moment.

    Asks `AuthService` or `BrowserService` once a request: `api.routing.ProtectedRoute` calls this
    before anything else of the request is looked at, and the context keeps the user and the session
    for the endpoint.
    Raises `InvalidToken`, and `TooManyRequests` for personal tokens that are guessed.
    """
    context = request_context(request)
    if context.user is None:
        services: Services = request.app.state.services
        if isinstance(token, SessionCookie):
            browser = services.of(BrowserService)
            context.user, context.session, slides = await browser.authenticate(token)
            if slides:
                life = context.session.expires_at - context.session.last_used_at
                context.cookie = cookie_header(request, token, life)
        else:
            try:
                context.user, context.session = await services.auth.authenticate(token)
            except InvalidToken:
                if token.startswith(PREFIX):
                    hits = network_hits(Limit.TOKEN_GUESSES, address_of(request))
                    await services.limits.hit(*hits)
                raise
    return context.user


CurrentUser = Annotated[User, Depends(current_user)]
"""The whole user whose token the request carries, as stored at this moment; else a 401."""


@raises(InvalidToken)
async def current_session(request: Request, _: CurrentUser) -> Session:
    session = request_context(request).session
    if session is None:
        raise InvalidToken
    return session


CurrentSession = Annotated[Session, Depends(current_session)]
"""The session of the request's token; asking for it asks for the current user too."""


@raises(must_be_fresh)
async def fresh_user(session: CurrentSession, user: CurrentUser, use_cases: UseCases) -> User:
    """The current user, whose session is fresh. Raises `StaleLogin`.

    `api.routing.ProtectedRoute` calls this before it looks at anything else of the request.
    """
    ports = use_cases.ports
    must_be_fresh(session, user, ports.clock(), ports.factor_policy)
    return user


FreshUser = Annotated[User, Depends(fresh_user)]
"""The current user of a *fresh* route; a stale session is a 401 `stale_login`, whatever else is
wrong with the request. The use case asks `must_be_fresh` as well.
"""
