"""The page at `/docs`: Swagger UI without external files, under a strict CSP."""

from functools import cache
from hashlib import sha256
from html import escape
from importlib.resources import files
from string import Template

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse

# Swagger UI sets styles by script (CSSOM), so 'unsafe-inline' is not needed. A Markdown table with
# aligned columns in a description would need it.
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

# File names do not change with the version of Swagger UI, so browsers must revalidate each time.
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

    The page works without internet access and behind a `root_path`. It loads `/openapi.json`, which
    must be the app's `openapi_url`. Reads the files, once per process. Raises FileNotFoundError.
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
        # The quoted tag is unique, so a substring search can replace parsing the list.
        condition = request.headers.get("If-None-Match", "").strip()
        if tag in condition or condition == "*":
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers, media_type=media_type)

    app.add_route(path, show_asset, include_in_schema=False)


@cache
def _read(package: str, name: str) -> bytes:
    return files(package).joinpath("static", name).read_bytes()
