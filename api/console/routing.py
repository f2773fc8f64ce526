"""Routers of pages. What is refused is a page as well, and a stranger is led to the login."""

from collections.abc import Callable, Coroutine
from functools import cached_property
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException

from api.console.error_pages import refused
from api.console.rendering import page, to_login, to_proof
from api.dependencies import current_user
from api.request_context import request_context
from api.routing import BrowserRoute, ProtectedRoute
from domain.errors import DomainError, Unauthenticated
from domain.factors import StaleLogin
from domain.policies import is_admin
from domain.scopes import Scope

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def _with_error_pages(handle: Handler) -> Handler:
    async def answer(request: Request) -> Response:
        try:
            return await handle(request)
        except StaleLogin:
            return to_proof(request)
        except Unauthenticated:
            return to_login(request)
        except DomainError as error:
            return page(request, "refused.html", error=error, title="That did not work")
        except RequestValidationError:
            return refused(request, 422, "This address is not complete.")
        except HTTPException as error:
            return refused(request, error.status_code)

    return answer


class PublicPage(BrowserRoute):
    def get_route_handler(self) -> Handler:
        return _with_error_pages(super().get_route_handler())


class AccountPage(ProtectedRoute):
    """A page behind the login."""

    @cached_property
    def scope(self) -> Scope:
        return Scope.SESSION_ONLY

    def get_route_handler(self) -> Handler:
        return _with_error_pages(super().get_route_handler())


class OpenPage(AccountPage):
    """A page that is also for users who lack a second factor that they must have."""

    @cached_property
    def needs_required_factor(self) -> bool:
        return False


class AdminPage(AccountPage):
    """A page that does not exist for members."""

    async def check(self, request: Request) -> None:
        await super().check(request)
        user = request_context(request).user
        if user is None or not is_admin(user):
            raise HTTPException(404)


# With a class of responses that the planned routes leave to FastAPI, and so to the handlers here.
def public_pages() -> APIRouter:
    return APIRouter(
        route_class=PublicPage, include_in_schema=False, default_response_class=HTMLResponse
    )


def account_pages() -> APIRouter:
    return _protected(AccountPage)


def open_pages() -> APIRouter:
    return _protected(OpenPage)


def admin_pages() -> APIRouter:
    return _protected(AdminPage)


def _protected(route_class: type[ProtectedRoute]) -> APIRouter:
    return APIRouter(
        route_class=route_class,
        dependencies=[Depends(current_user)],
        include_in_schema=False,
        default_response_class=HTMLResponse,
    )
