"""A planned route responds as FastAPI would."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Annotated, Any

import httpx
import pytest
from fastapi import (
    Depends,
    FastAPI,
    Form,
    Header,
    HTTPException,
    Path,
    Query,
    Request,
    Response,
)
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import RouteContext, iter_route_contexts
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import ASGIApp

from api.fastpath.plans import Plan, Unplanned
from api.fastpath.table import RouteTable
from api.routing import Route, public_router
from tests.api.client import ApiClient, on_one_database

NUMBER = Annotated[int, Path(ge=1)]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    size: int = 3


class View(BaseModel):
    said: str


async def agent(request: Request) -> str:
    return request.headers["user-agent"]


async def shouted(request: Request, name: Annotated[str, Depends(agent)]) -> str:
    request.state.shouts = getattr(request.state, "shouts", 0) + 1
    return f"{name} {request.method}".upper()


Agent = Annotated[str, Depends(agent)]
Shouted = Annotated[str, Depends(shouted)]


class Caller:
    async def __call__(self, request: Request) -> str:
        return f"called by {request.url.path}"


async def refuse(request: Request) -> None:
    if request.query_params.get("who") != "me":
        raise HTTPException(403)


async def nothing() -> None: ...


class Text(JSONResponse):
    media_type = "text/x-json"


async def full() -> View | None:
    return View(said="x")


async def of_the_path(number: NUMBER, response: Response) -> View:
    response.headers["X-Number"] = str(number)
    return View(said=f"{number}")


async def by_dependencies(one: Shouted, two: Agent, again: Shouted, request: Request) -> View:
    return View(said=f"{one} {two} {again} {request.state.shouts}")


async def by_an_object(caller: Annotated[str, Depends(Caller())]) -> list[View]:
    return [View(said=caller)]


async def of_a_body(number: NUMBER, body: Body, request: Request) -> View:
    return View(said=f"{number} {body} {await request.body()!r}")


async def of_its_own(request: Request) -> Response:
    return Response("plain", 202, {"X-Own": "yes"}, "text/plain")


async def with_a_status(response: Response) -> View:
    response.status_code = 203
    return View(said="so")


async def of_another_type() -> View:
    return {"said": "a dict", "more": "is left out"}  # type: ignore[return-value]


async def of_no_type() -> View:
    return 7  # type: ignore[return-value]


async def with_a_query(wanted: int) -> int:
    return wanted


class Wanted(BaseModel):
    model_config = ConfigDict(extra="forbid")

    size: int = Field(3, ge=1)
    name: str | None = None


class WantedTwice(BaseModel):
    names: list[str] = []


async def with_a_model(wanted: Annotated[Wanted, Query()], number: NUMBER) -> str:
    return f"{wanted} {number}"


async def with_a_list(wanted: Annotated[WantedTwice, Query()]) -> str:
    return f"{wanted}"


async def lines_of(lines: Annotated[list[str] | None, Header(alias="X-Lines")] = None) -> str:
    return f"{lines}"


async def with_headers(
    lines: Annotated[str, Depends(lines_of)],
    own: Annotated[list[str] | None, Header(alias="X-Own")] = None,
) -> str:
    return f"{lines} {own}"


async def with_one_header(user_agent: Annotated[str | None, Header()] = None) -> str:
    return f"{user_agent}"


async def with_a_form(wanted: Annotated[int, Form()]) -> int:
    return wanted


def in_a_thread(number: NUMBER) -> int:
    return number


def opened() -> Iterator[str]:
    yield "open"


async def with_a_yield(it: Annotated[str, Depends(opened)]) -> str:
    return it


async def of_two_bodies(body: Body, other: Body) -> str:
    return f"{body} {other}"


async def of_a_body_or_none(body: Body | None = None) -> str:
    return f"{body}"


IN_OTHER_WORDS = {"model_type": "model_attributes_type"}


async def on_invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = []
    for detail in error.errors():
        kind = IN_OTHER_WORDS.get(detail["type"], detail["type"])
        # FastAPI says by its place in the text where JSON is broken, pydantic in words.
        found.append([kind, detail["loc"][: 1 if kind == "json_invalid" else None]])
    return JSONResponse(found, 422)


@cache
def application(*, fastpath: bool) -> FastAPI:
    router = public_router("test")
    get, write = router.get, router.post
    get("/nothing", status_code=204, response_class=Response)(nothing)
    get("/path/{number}")(of_the_path)
    get("/dependencies")(by_dependencies)
    get("/object")(by_an_object)
    write("/body/{number}", status_code=201)(of_a_body)
    get("/own")(of_its_own)
    get("/guarded", dependencies=[Depends(refuse)])(full)
    get("/typed", response_class=Text)(full)
    get("/except", response_model_exclude={"said"})(full)
    write("/short/{number}", max_body_size=10)(of_a_body)
    get("/status")(with_a_status)
    get("/another")(of_another_type)
    get("/untyped")(of_no_type)
    get("/query")(with_a_query)
    get("/model/{number}")(with_a_model)
    get("/list")(with_a_list)
    get("/headers")(with_headers)
    get("/header")(with_one_header)
    write("/form")(with_a_form)
    get("/thread/{number}")(in_a_thread)
    get("/yield")(with_a_yield)
    write("/two")(of_two_bodies)
    write("/optional")(of_a_body_or_none)
    app = FastAPI(exception_handlers={RequestValidationError: on_invalid})
    lax = public_router("test")
    lax.strict_content_type = False
    lax.post("/lax/{number}")(of_a_body)
    app.include_router(router)
    app.include_router(lax)
    if fastpath:
        app.add_middleware(RouteTable, application=app)
    return app


def body(content: bytes, content_type: str | None = "application/json") -> dict[str, Any]:
    headers = {"Content-Type": content_type} if content_type else {}
    return {"content": content, "headers": headers}


async def answers(path: str, method: str, options: dict[str, Any]) -> list[tuple[Any, ...]]:
    """FastAPI's and ours."""
    found = []
    for fastpath in (False, True):
        app = application(fastpath=fastpath)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            answer = await client.request(method, path, **options)
        found.append((answer.status_code, answer.content, sorted(answer.headers.items())))
    return found


@pytest.mark.parametrize(
    ("method", "path", "options"),
    [
        ("GET", "/nothing", {}),
        ("GET", "/path/7", {}),
        ("GET", "/path/0", {}),
        ("GET", "/path/x", {}),
        ("GET", "/dependencies", {}),
        ("GET", "/object", {}),
        ("POST", "/body/7", body(b'{"name": "Anna"}')),
        ("POST", "/body/7", body(b'{"name": "Anna", "size": 4}', "application/a+json; charset=x")),
        ("POST", "/body/0", body(b'{"name": 1, "size": "4", "more": 0}')),
        ("POST", "/body/7", body(b"[]")),
        ("POST", "/body/7", body(b'{"name": ')),
        ("POST", "/body/7", body(b"")),
        ("POST", "/body/7", body(b"null")),
        ("GET", "/own", {}),
        ("GET", "/guarded?who=me", {}),
        ("GET", "/guarded", {}),
        ("GET", "/typed", {}),
        ("GET", "/except", {}),
        ("POST", "/short/7", body(b'{"name": "longer than that"}')),
        ("POST", "/lax/7", body(b'{"name": "Anna"}', None)),
        ("GET", "/status", {}),
        ("GET", "/another", {}),
        ("GET", "/untyped", {}),
        ("GET", "/query?wanted=3", {}),
        ("GET", "/query", {}),
        ("GET", "/model/7", {}),
        ("GET", "/model/7?size=4&name=%C3%A9", {}),
        ("GET", "/model/7?size=0&more=1&name=", {}),
        ("GET", "/model/0?size=x", {}),
        ("GET", "/model/7?size=4&size=5", {}),
        ("GET", "/list?names=a", {}),
        ("GET", "/headers", {}),
        ("GET", "/headers", {"headers": [("X-Lines", "a"), ("x-lines", "b"), ("X-Own", "")]}),
        ("GET", "/header", {}),
        ("POST", "/form", {"data": {"wanted": "3"}}),
        ("GET", "/thread/3", {}),
        ("GET", "/yield", {}),
        ("POST", "/two", body(b'{"body": {"name": "a"}, "other": {"name": "b"}}')),
        ("POST", "/optional", body(b"")),
    ],
)
async def test_a_planned_route_responds_as_fastapi_does(
    method: str, path: str, options: dict[str, Any]
) -> None:
    fastapis, ours = await answers(path, method, options)

    assert ours == fastapis


def planned(app: FastAPI) -> dict[str, bool]:
    """Whether there is a plan for each route of ours, by its path."""
    return {
        context.path or "": is_planned(context)
        for context in iter_route_contexts(app.routes)
        if isinstance(context.original_route, Route)
    }


def is_planned(context: RouteContext) -> bool:
    try:
        Plan(context)
    except Unplanned:
        return False
    return True


def test_routes_with_supported_inputs_are_planned() -> None:
    left = {
        path for path, is_planned in planned(application(fastpath=False)).items() if not is_planned
    }

    assert left == {
        *("/typed", "/except", "/short/{number}", "/query", "/list", "/header", "/form"),
        "/own",
        *("/thread/{number}", "/yield", "/two", "/optional", "/lax/{number}"),
    }


@on_one_database
def test_every_route_without_a_form_or_special_response_is_planned(api: ApiClient) -> None:
    left = {path for path, is_planned in planned(api.app).items() if not is_planned}

    pages = {path for path in left if path.startswith("/console")}
    forms = {"/login", "/refresh", "/introspect", "/revoke"}
    special = {
        "/users/me/export",
        "/.well-known/jwks.json",
        "/.well-known/oauth-protected-resource",
    }
    assert left - pages == forms | special


async def test_overrides_of_dependencies_are_honoured() -> None:
    app = application(fastpath=True)
    app.dependency_overrides[agent] = lambda: "another agent"

    async with client_of(app) as client:
        answer = await client.get("/dependencies")

    assert answer.json()["said"].startswith("ANOTHER AGENT GET another agent")


class Paths:
    """An application in which several routes may be meant by one path."""

    def __init__(self, *, fastpath: bool) -> None:
        router = public_router("test")
        router.get("/a/{name}")(self.named)
        router.get("/a/fixed")(self.fixed)  # never reached
        router.get("/b/fixed")(self.fixed)
        router.get("/b/{name}")(self.named)
        router.get("/c/{rest:path}")(self.named_rest)
        router.get("/d/{number:int}")(self.numbered)
        router.get("/e/{name}")(self.queried)
        router.get("/e/fixed")(self.fixed)  # never reached either
        router.post("/b/fixed")(self.posted)
        self.app = FastAPI(redirect_slashes=False)
        self.app.include_router(router)
        mounted = FastAPI()
        mounted.get("/inside")(self.fixed)
        self.app.mount("/m", mounted)
        late = public_router("test")
        late.get("/m/outside")(self.fixed)  # nor this
        late.get("/z")(self.fixed)
        self.app.include_router(late)
        if fastpath:
            self.app.add_middleware(RouteTable, application=self.app)

    async def named(self, name: str) -> str:
        return f"named {name}"

    async def named_rest(self, rest: str) -> str:
        return f"rest {rest}"

    async def numbered(self, number: int) -> str:
        return f"number {number!r}"

    async def queried(self, name: str, more: str = "") -> str:
        return f"queried {name} {more}"

    async def fixed(self, request: Request) -> list[str]:
        return ["fixed", request.scope["route"].path, str(request.path_params)]

    async def posted(self) -> str:
        return "posted"


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "BREW"])
@pytest.mark.parametrize("root_path", ["", "/b"])
async def test_the_table_finds_what_starlette_finds(method: str, root_path: str) -> None:
    async with (
        client_of(Paths(fastpath=False).app, root_path) as fastapis,
        client_of(Paths(fastpath=True).app, root_path) as by_table,
    ):
        for path in (
            *("/", "/a", "/a/", "/a/x", "/a/fixed", "/a/x/y", "/b/fixed", "/b/x", "/c/x/y", "/d/7"),
            *("/d/x", "/e/fixed", "/m/inside", "/m/outside", "/m", "/z", "/z/", "/a/{name}", "/q"),
            *("/b/fixed%2fx", "/a/%C3%A9", "/b/b/fixed", "/b/z"),
        ):
            known = await fastapis.request(method, path)
            found = await by_table.request(method, path)
            assert (found.status_code, found.content) == (known.status_code, known.content), path


@asynccontextmanager
async def client_of(app: ASGIApp, root_path: str = "") -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, root_path=root_path)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client
