"""`/docs` and its files over HTTP; tests/journeys/test_docs_page.py uses the page in a browser."""

import re
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from api.docs import add_docs

FILES = ["docs.js", "swagger-ui-bundle.js", "swagger-ui.css", "favicon.png"]


def client_of(app: FastAPI, root_path: str = "") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app, root_path=root_path)
    return httpx.AsyncClient(transport=transport, base_url="http://gatepost")


@pytest.fixture
def app() -> FastAPI:
    app = FastAPI(title="Users & <Gates>", docs_url=None, redoc_url=None)
    add_docs(app)
    return app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app) as client:
        yield client


async def test_the_docs_page_loads_only_from_its_origin_without_inline_code(
    client: httpx.AsyncClient,
) -> None:
    page = await client.get("/docs")

    assert page.status_code == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    assert "//" not in page.text
    assert "<title>Users &amp; &lt;Gates&gt;</title>" in page.text


async def test_files_of_the_docs_page_are_served_behind_a_root_path(app: FastAPI) -> None:
    async with client_of(app, root_path="/gate") as client:
        page = await client.get("/gate/docs")
        names = re.findall(r'(?:src|href)="(/gate/[^"]+)"', page.text)

        assert {f"/gate/docs/{name}" for name in FILES} <= set(names)
        for name in names:
            assert (await client.get(name)).status_code == 200


@pytest.mark.parametrize("name", FILES)
async def test_an_unchanged_file_of_the_docs_page_is_a_304(
    client: httpx.AsyncClient, name: str
) -> None:
    first = await client.get(f"/docs/{name}")
    again = await client.get(f"/docs/{name}", headers={"If-None-Match": first.headers["ETag"]})
    other = await client.get(f"/docs/{name}", headers={"If-None-Match": '"other"'})
    every = await client.get(f"/docs/{name}", headers={"If-None-Match": "*"})

    assert (first.status_code, other.status_code) == (200, 200)
    assert (again.status_code, every.status_code) == (304, 304)
    assert again.content == b""
    assert again.headers["ETag"] == first.headers["ETag"]


@pytest.mark.parametrize("name", ["redoc.standalone.js", "docs.html", "..%2fdocs.py"])
async def test_no_other_file_is_served(client: httpx.AsyncClient, name: str) -> None:
    answer = await client.get(f"/docs/{name}")

    assert answer.status_code == 404


async def test_the_docs_page_is_not_in_the_openapi_document(client: httpx.AsyncClient) -> None:
    assert (await client.get("/openapi.json")).json()["paths"] == {}
