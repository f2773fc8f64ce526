"""The root: where a person or a program goes on from here."""

from html import escape

from fastapi import Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from pydantic import BaseModel

from api.cookies import door_of
from api.routing import public_router

public = public_router("operations")

_VARY = {"Vary": "Accept"}
_HTML = _VARY | {"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'"}
_LINKS = {"docs": "/docs", "openapi": "/openapi.json", "health": "/health/ready"}


class HomeView(BaseModel):
    name: str
    version: str
    links: dict[str, str]


@public.get("/", summary="Name, version and links", response_model=HomeView)
async def read_home(request: Request) -> Response:
    """JSON with path-absolute links. Whoever accepts `text/html` is led to the console, or gets a
    page where there is none.
    """
    root = request.scope.get("root_path", "").rstrip("/")
    app = request.app
    has_console = door_of(request) is not None
    paths = _LINKS | ({"console": "/console"} if has_console else {})
    links = {name: root + path for name, path in paths.items()}
    if "text/html" in request.headers.get("Accept", "").lower():
        if has_console:
            return RedirectResponse(links["console"], 303, _VARY)
        return HTMLResponse(_page(app.title, app.version, app.description, links), headers=_HTML)
    home = HomeView(name=app.title, version=app.version, links=links)
    return JSONResponse(home.model_dump(), headers=_VARY)


def _page(title: str, version: str, description: str, links: dict[str, str]) -> str:
    items = "\n".join(
        f'<li><a href="{escape(url)}">{escape(name)}</a></li>' for name, url in links.items()
    )
    return f"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
</head>
<body>
<h1>{escape(title)} {escape(version)}</h1>
<p>{escape(description)}</p>
<ul>
{items}
</ul>
</body>
</html>
"""
