"""The console: pages that are made on the server, for people."""

from fastapi import FastAPI

from api.console import access, account, administration, factors, tokens
from api.console.rendering import add_static_files


def add_console(app: FastAPI, *, has_factors: bool) -> None:
    """Add the pages below `/console`, those of second factors if there are any.

    Importing this loads the template engine.
    """
    for pages in (access.pages, account.enrolment, account.pages, tokens.pages):
        app.include_router(pages)
    app.include_router(administration.pages)
    if has_factors:
        app.include_router(factors.pages)
    add_static_files(app)
