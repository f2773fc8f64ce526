"""The census: a route is public because this page says so, or it is protected."""

from collections.abc import Callable, Sequence

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from api.dependencies import CurrentUser
from api.routing import ProtectedRoute, protected_router, refuse_undeclared_routes
from domain.scopes import Scope
from tests.api.client import ApiClient, on_one_database, open_gate
from tests.api.expected import expected_routes

pytestmark = on_one_database

# What is not here is closed.
PUBLIC = {
    *((row.method, row.path) for row in expected_routes() if row.statuses is None),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
    ("GET", "/docs/docs.js"),
    ("GET", "/docs/favicon.png"),
    ("GET", "/docs/swagger-ui-bundle.js"),
    ("GET", "/docs/swagger-ui.css"),
    ("GET", "/console/static/console.css"),
    ("GET", "/console/static/icon.svg"),
    ("GET", "/console/static/passkeys.js"),
    ("POST", "/console/logout"),
    ("POST", "/console/login/passkey"),
    ("POST", "/console/login/second-factor"),
    *(
        (method, f"/console/{page}")
        for page in ("login", "register", "forgot", "reset", "verify", "undo")
        for method in ("GET", "POST")
    ),
}


def undecided(app: FastAPI) -> list[str]:
    """The routes that are neither public by the contract nor protected."""
    return [
        f"{sorted(methods)} {path}"
        for route, path, methods in census(app.routes)
        if not methods or not {(method, path) for method in methods - {"HEAD"}} <= PUBLIC
        if not isinstance(route, ProtectedRoute)
    ]


def census(routes: Sequence[BaseRoute]) -> list[tuple[BaseRoute, str, set[str]]]:
    """Every route; a mounted application counts as one, since nothing is known of its inside."""
    return [
        (route.original_route, route.path or repr(route), set(route.methods or ()))
        for route in iter_route_contexts(routes)
    ]


def test_every_route_is_public_by_the_contract_or_protected(api: ApiClient) -> None:
    assert undecided(api.app) == []


def test_every_public_route_of_the_contract_exists(api: ApiClient) -> None:
    routes = {(method, path) for _, path, methods in census(api.app.routes) for method in methods}

    assert routes >= PUBLIC


def test_no_public_route_is_protected(api: ApiClient) -> None:
    protected = [
        path
        for route, path, methods in census(api.app.routes)
        if isinstance(route, ProtectedRoute) and {(m, path) for m in methods} & PUBLIC
    ]

    assert protected == []


async def test_only_protected_routes_need_a_token(api: ApiClient) -> None:
    for _, path, methods in census(api.app.routes):
        for method in methods:
            answer = await api.client.request(method, path.replace("{", "").replace("}", ""))
            is_public = (method.replace("HEAD", "GET"), path) in PUBLIC
            to_login = answer.headers.get("Location", "").startswith("/console/login")
            is_refused = answer.status_code == 401 or to_login
            assert is_refused is not is_public, f"{method} {path}"


def forgotten_route(app: FastAPI) -> None:
    @app.get("/secrets")
    async def read_secrets() -> None: ...


def forgotten_method(app: FastAPI) -> None:
    @app.delete("/login")
    async def forget() -> None: ...


def forgotten_route_in_a_router(app: FastAPI) -> None:
    router = APIRouter(prefix="/secrets")

    @router.post("")
    async def write_secret() -> None: ...

    app.include_router(router)


def a_plain_route(app: FastAPI) -> None:
    app.router.routes.append(Route("/secrets", lambda request: Response()))


def a_mounted_application(app: FastAPI) -> None:
    app.router.routes.append(Mount("/secrets", FastAPI()))


def a_protected_route(app: FastAPI) -> None:
    router = protected_router("secrets")

    @router.get("/closed", scope=Scope.ACCOUNT_READ)
    async def read_closed(user: CurrentUser) -> int:
        return user.id

    app.include_router(router)


@pytest.mark.parametrize(
    ("add", "found"),
    [
        (forgotten_route, ["['GET'] /secrets"]),
        (forgotten_method, ["['DELETE'] /login"]),
        (forgotten_route_in_a_router, ["['POST'] /secrets"]),
        (a_plain_route, ["['GET', 'HEAD'] /secrets"]),
        (a_mounted_application, ["[] /secrets"]),
        (a_protected_route, []),
    ],
)
def test_the_census_finds_an_undeclared_route(
    api: ApiClient, add: Callable[[FastAPI], None], found: list[str]
) -> None:
    app = FastAPI(docs_url=None, redoc_url=None)
    assert undecided(app) == []

    add(app)

    assert undecided(app) == found


@pytest.mark.parametrize("add", [forgotten_route, forgotten_route_in_a_router])
def test_an_undeclared_route_prevents_the_start(
    api: ApiClient, add: Callable[[FastAPI], None]
) -> None:
    refuse_undeclared_routes(api.app)
    app = FastAPI(docs_url=None, redoc_url=None)
    add(app)

    with pytest.raises(TypeError, match=r"^/secrets is neither public nor protected: "):
        refuse_undeclared_routes(app)


@pytest.mark.parametrize("declare", ["get", "post", "put", "patch", "delete", "api_route"])
def test_a_protected_route_without_a_scope_prevents_the_start(api: ApiClient, declare: str) -> None:
    app, router = FastAPI(docs_url=None, redoc_url=None), protected_router("secrets")

    async def read_secrets() -> None: ...

    getattr(router, declare)("/secrets")(read_secrets)
    app.include_router(router)

    with pytest.raises(TypeError, match=r"^/secrets names no scope: "):
        refuse_undeclared_routes(app)


async def test_a_protected_route_authenticates_without_asking_for_the_user(
    database_url: str,
) -> None:
    router = protected_router("secrets")

    @router.get("/secrets", scope=Scope.ACCOUNT_READ)
    async def read_secrets() -> str:
        return "secret"

    async with open_gate(database_url) as api:
        api.app.include_router(router)

        assert (await api.client.get("/secrets")).status_code == 401
        anna = await api.person()
        assert (await api.client.get("/secrets", headers=anna.headers)).json() == "secret"


async def test_a_response_without_content_has_no_content_type(api: ApiClient) -> None:
    routes = [route for route, _, _ in census(api.app.routes) if isinstance(route, APIRoute)]
    empty = [route for route in routes if route.status_code == 204]

    assert empty
    assert [route.path for route in empty if route.response_class is not Response] == []
