"""Pages: templates, the headers that all of them have, and where a browser goes next."""

import re
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from api.console import words
from api.errors import STATUSES
from api.request_context import request_context
from application.services import Services
from domain.errors import DomainError, TooMany, Unavailable
from domain.policies import is_admin

POLICY = "; ".join(
    [
        "default-src 'none'",
        "style-src 'self'",
        "img-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)
SCRIPT_POLICY = f"{POLICY}; script-src 'self'; connect-src 'self'"
"""Of the pages on which a passkey is made or used."""
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_LOCAL = re.compile(r"/console(?:/[\w-]+)*(?:\?[\w=&.%-]*)?", re.ASCII)

DONE = {
    "registered": "Welcome. You can confirm your address below.",
    "asked": "We sent you a mail. Follow its link to complete the registration, then log in.",
    "name": "Your name is saved.",
    "address": "We sent a link to the new address. It replaces the present one when you follow it.",
    "address-same": "That is your address already.",
    "verification": "We sent you a link. It works for a day.",
    "verified": "Your address is confirmed.",
    "undone": "Your address is back, and all sessions are ended. Log in and choose a new password.",
    "password": "Your password is changed, and all other sessions are ended.",
    "reset": "Your password is changed. Log in with the new one.",
    "session": "The session is ended.",
    "proved": "Thank you. You can go on now.",
    "app-removed": "The authenticator app is removed.",
    "factors-removed": "The second factors are removed, and all sessions of the user are ended.",
    "passkey-added": "The passkey is added. It logs you in, alone or after your password.",
    "passkey-renamed": "The passkey has its new name.",
    "passkey-deleted": "The passkey is deleted. You may remove it from your device as well.",
    "token-deleted": "The token is deleted.",
    "sessions": "All sessions of the user are ended.",
    "out": "You are logged out.",
    "deleted": "Your account is deleted.",
    "webhook-saved": "The webhook is changed.",
    "webhook-on": "The webhook is switched on.",
    "webhook-off": "The webhook is switched off. Events of this time are not sent later.",
    "webhook-deleted": "The webhook is deleted.",
    "test": "A test is on its way. Look again in a moment.",
    "again": "The delivery is on its way again. Look again in a moment.",
    "job": "The job runs again as soon as a worker is free.",
    "role": "The role is changed.",
    "activated": "The account is active again.",
    "deactivated": "The account is deactivated, and its sessions are ended.",
}
"""What pages say after a change, by the word in their address."""


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("api.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,  # or each page looks up when its templates were changed
    )
    environment.filters |= {
        "relative": words.relative,
        "exact": words.exact,
        "client": words.client,
        "event": words.event,
        "urlencoded": lambda query: urlencode({k: v for k, v in query.items() if v}),
    }
    return environment


def root_of(request: Request) -> str:
    """The prefix that a proxy takes off, in front of every address of a page."""
    root: str = request.scope.get("root_path", "")
    return root.rstrip("/")


def page(
    request: Request,
    template: str,
    *,
    error: DomainError | None = None,
    status: int = 200,
    headers: Mapping[str, str] = {},
    has_script: bool = False,
    **context: Any,
) -> Response:
    """The page that `template` makes. `error`, if given, decides the status and stands on top.

    `has_script`: whether it uses the script of passkeys, where there are any.
    """
    services: Services = request.app.state.services
    about = request_context(request)
    given = dict(_HEADERS) | dict(headers)
    has_passkeys = services.ports.has_passkeys
    if has_script and has_passkeys:
        given["Content-Security-Policy"] = SCRIPT_POLICY
    if error is not None:
        status = status_of(error)
        about.error = error.code
        if isinstance(error, (TooMany, Unavailable)):
            given["Retry-After"] = str(error.retry_after)
    content = (
        _templates()
        .get_template(template)
        .render(
            root=root_of(request),
            path=request.scope["path"].removeprefix(root_of(request)),
            style=_versioned("console.css"),
            script=_versioned("passkeys.js") if has_script and has_passkeys else None,
            has_passkeys=has_passkeys,
            user=about.user,
            session=about.session,
            is_admin=about.user is not None and is_admin(about.user),
            now=services.ports.clock(),
            done=DONE.get(request.query_params.get("done", "")),
            error=error,
            errors=getattr(error, "errors", {}),
            **context,
        )
    )
    return HTMLResponse(content, status, given)


def is_of_console(request: Request) -> bool:
    path: str = request.scope["path"].removeprefix(root_of(request))
    return path == "/console" or path.startswith("/console/")


def status_of(error: DomainError) -> int:
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)


def go(request: Request, path: str, **query: str) -> Response:
    """Post-redirect-get: the page at this path of ours, by GET."""
    url = quote(root_of(request)) + path
    if query:
        url += ("&" if "?" in path else "?") + urlencode(query)
    return RedirectResponse(url, 303, {"Cache-Control": "no-store"})


def local_path(value: str | None) -> str:
    """`value` if it is the path of a page of the console, and else that of the first page."""
    return value if value and len(value) < 500 and _LOCAL.fullmatch(value) else "/console"


def to_login(request: Request) -> Response:
    """The login, which leads back to the page that the browser asked for."""
    path = request.scope["path"].removeprefix(root_of(request))
    if request.method != "GET" or path == "/console":
        return go(request, "/console/login")
    query: bytes = request.scope["query_string"]
    asked = f"{path}?{query.decode('latin-1')}" if query else path
    return go(request, "/console/login", **{"return": local_path(asked)})


_PROVED_FOR = ("/console/tokens", "/console/passkeys")
_USER_PAGE = re.compile(r"/console/users/\d+")


def to_proof(request: Request) -> Response:
    """The page on which a session becomes fresh. It leads back to where the form was."""
    path = request.scope["path"].removeprefix(root_of(request))
    user = _USER_PAGE.match(path)
    back = next((it for it in _PROVED_FOR if path.startswith(it)), "/console/security")
    return go(request, "/console/proof", **{"return": user[0] if user else back})


_STATIC = {
    "console.css": "text/css",
    "passkeys.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}


@cache
def _static(name: str) -> bytes:
    return files("api.console").joinpath("static", name).read_bytes()


@cache
def _versioned(name: str) -> str:
    """The name with a query that changes with the content."""
    return f"{name}?v={sha256(_static(name)).hexdigest()[:16]}"


def add_static_files(app: FastAPI) -> None:
    """Serve the files of the pages, public. Their addresses change with their content."""
    for name, media_type in _STATIC.items():
        _add(app, f"/console/static/{name}", _static(name), media_type)


def _add(app: FastAPI, path: str, content: bytes, media_type: str) -> None:
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}

    async def show(_: Request) -> Response:
        return Response(content, headers=headers, media_type=media_type)

    app.add_route(path, show, include_in_schema=False)
