"""The page at `/docs`: Swagger UI with nothing from elsewhere, under a strict policy."""

from functools import cache
from hashlib import sha256
from html import escape
from importlib.resources import files
from string import Template

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse

# Swagger UI styles its elements from script only (CSSOM), so no 'unsafe-inline' is needed. The one
# thing that would break it is a Markdown table with aligned columns in a description.
_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)

# Names are kept across versions of Swagger UI, so a browser asks each time and mostly hears 304.
_HEADERS = {"Cache-Control": "no-cache"}

# (package whose `static` folder has it, name, media type)
_ASSETS = [
    ("api", "docs.js", "text/javascript"),
    ("fastapi_offline", "swagger-ui-bundle.js", "text/javascript"),
    ("fastapi_offline", "swagger-ui.css", "text/css"),
    ("fastapi_offline", "favicon.png", "image/png"),
]


def add_docs(app: FastAPI) -> None:
    """Serve `/docs` and the files it needs at `/docs/{name}`, public and outside the schema.

    The page works with no internet, behind a `root_path`, and at `/docs/` where that is routed
    here. It reads the app's `openapi_url`, which must be "/openapi.json". Files are read here,
    once per process; a missing one is a FileNotFoundError now rather than a broken page later.
    """
    page = Template(_read("api", "docs.html").decode())

    async def show_page(request: Request) -> Response:
        root = request.scope.get("root_path", "").rstrip("/")
        html = page.substitute(root=escape(root), title=escape(app.title))
        return HTMLResponse(html, headers=_HEADERS | {"Content-Security-Policy": _POLICY})

    app.add_route("/docs", show_page, include_in_schema=False)
    for package, name, media_type in _ASSETS:
        _add_asset(app, f"/docs/{name}", _read(package, name), media_type)


def _add_asset(app: FastAPI, path: str, content: bytes, media_type: str) -> None:
    tag = f'"{sha256(content).hexdigest()[:32]}"'
    headers = _HEADERS | {"ETag": tag}

    async def show_asset(request: Request) -> Response:
        # The quoted tag is unmistakable, so looking for it in the list saves parsing the list.
        if tag in request.headers.get("If-None-Match", ""):
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers, media_type=media_type)

    app.add_route(path, show_asset, include_in_schema=False)


@cache
def _read(package: str, name: str) -> bytes:
    return files(package).joinpath("static", name).read_bytes()
