"""The console: pages that are made on the server, for people."""

from fastapi import FastAPI

from api.console import (
    access,
    account,
    administration,
    factors,
    jobs,
    logins,
    passkeys,
    tokens,
    webhooks,
)
from api.console.error_pages import add_error_pages
from api.console.rendering import add_static_files


def add_console(app: FastAPI, *, has_factors: bool, has_passkeys: bool) -> None:
    """Add the pages below `/console`, and pages of errors there, to an application that has the
    handlers of errors. Add those of second factors and passkeys if there are any.

    Importing this loads the template engine.
    """
    for pages in (logins.pages, access.pages, account.enrolment, account.pages, tokens.pages):
        app.include_router(pages)
    for pages in (administration.pages, webhooks.pages, jobs.pages):
        app.include_router(pages)
    if has_factors:
        app.include_router(factors.pages)
    if has_passkeys:
        app.include_router(logins.passkeys)
        app.include_router(passkeys.pages)
    add_static_files(app)
    add_error_pages(app)
