"""The methods of a path. One without parameters, such as `/users/me/factors`, is no path of a route
whose parameter would match it, such as `/users/{user_id}/factors`.
"""

from collections.abc import Mapping, Set
from functools import lru_cache

from fastapi import FastAPI, Request
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.types import Scope


def allowed_methods(request: Request) -> list[str]:
    """The methods of all routes with this path. Starlette names only those of the first route."""
    path = _path(request.scope)
    methods = _fixed_paths(request.app).get(path) or {
        method
        for route in iter_route_contexts(request.app.routes)
        if route.path_regex.match(path)
        for method in route.methods or ()
    }
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))


def refuse_other_methods(request: Request) -> None:
    """Raise a 405 for a path without parameters that a route with parameters was chosen for."""
    scope = request.scope
    methods = _fixed_paths(scope["app"]).get(_path(scope))
    if methods is not None and scope["method"] not in methods:
        raise HTTPException(405)


def _path(scope: Scope) -> str:
    path: str = scope["path"]
    root_path: str = scope["root_path"]
    return path.removeprefix(root_path) if root_path else path


@lru_cache(maxsize=4)
def _fixed_paths(app: FastAPI) -> Mapping[str, Set[str]]:
    """The paths without parameters and their methods, as they are when the first request asks."""
    found: dict[str, set[str]] = {}
    for route in iter_route_contexts(app.routes):
        if route.path and "{" not in route.path:
            found.setdefault(route.path, set()).update(route.methods or ())
    return found
