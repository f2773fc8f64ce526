"""What routes ask for: the services and the current user."""

from typing import Annotated

from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.security import OAuth2PasswordBearer
from fastapi.security.base import SecurityBase

from api.request_context import request_context
from application.services import Services
from domain.sessions import InvalidToken, NotAuthenticated, Session
from domain.users import User


async def services_of(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


UseCases = Annotated[Services, Depends(services_of)]


class BearerToken(SecurityBase):
    """Resolves a request to its user by the bearer token in its header (RFC 6750, section 2.1).

    One dependency instead of a scheme and a function on top of it: each costs every request.
    Raises `NotAuthenticated` without credentials, `InvalidToken` for bad ones.
    """

    def __init__(self) -> None:
        scheme = OAuth2PasswordBearer(tokenUrl="login")
        self.model = scheme.model
        self.scheme_name = scheme.scheme_name

    async def __call__(self, request: Request) -> User:
        # Its route has asked before anything else was looked at.
        return request_context(request).user or await authenticate(request)


async def authenticate(request: Request) -> User:
    """The user who sends the request; the request's context has the session too."""
    services: Services = request.app.state.services
    exchange = request_context(request)
    exchange.user, exchange.session = await services.auth.authenticate(bearer_token(request))
    return exchange.user


def bearer_token(request: Request) -> str:
    """The one token of the one Authorization header."""
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


CurrentUser = Annotated[User, Depends(BearerToken())]
"""The whole user whose token the request carries, as stored at this moment; else a 401."""


async def _session_of(request: Request, _: CurrentUser) -> Session:
    session = request_context(request).session
    if session is None:
        raise InvalidToken
    return session


CurrentSession = Annotated[Session, Depends(_session_of)]
"""The session that the request's token is of; asking for it is asking for the current user too."""


def asks_for_the_current_user(route: object) -> bool:
    return isinstance(route, APIRoute) and _has_bearer_token(route.dependant)


def _has_bearer_token(dependant: Dependant) -> bool:
    return isinstance(dependant.call, BearerToken) or any(
        _has_bearer_token(child) for child in dependant.dependencies
    )
