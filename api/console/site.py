"""The console: pages that are made on the server, for people."""

from fastapi import FastAPI

from api.console import access, account, administration
from api.console.rendering import add_static_files


def add_console(app: FastAPI) -> None:
    """Add the pages below `/console`. Importing this loads the template engine."""
    for concept in (access, account, administration):
        app.include_router(concept.pages)
    add_static_files(app)
