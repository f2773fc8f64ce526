"""Finds the planned route of a request by a dictionary or a regular expression."""

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from fastapi.routing import RouteContext, iter_route_contexts
from fastapi.telemetry._api import _route_selected
from starlette import routing
from starlette._utils import get_route_path
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from api.fastpath.plans import Plan, Unplanned


class RouteTable:
    """A middleware that answers the requests of planned routes and leaves all others to `app`.

    It is made of the routes of `application` as they are when the first request comes.
    """

    def __init__(self, app: ASGIApp, *, application: FastAPI) -> None:
        self._others = app
        self._application = application
        handlers = {
            key: handler
            for key, handler in application.exception_handlers.items()
            if key not in (500, Exception)
        }
        self._handled = ExceptionMiddleware(_raise_again, handlers=handlers)
        self._entries: dict[tuple[str, str], list[_Entry]] | None = None
        self._fixed: dict[tuple[str, str], _Entry] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._application.dependency_overrides:
            entry, parameters = self._find(scope["method"], _path(scope))
            if entry and entry.plan:
                scope["route"] = entry.route
                scope["path_params"] = parameters
                if "fastapi.telemetry" in scope:
                    _route_selected(scope=scope, path=entry.path)
                await self._answer(entry.plan, scope, receive, send)
                return
        await self._others(scope, receive, send)

    async def _answer(self, plan: Plan, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response = await plan(Request(scope, receive, send))
        except Exception as error:  # noqa: BLE001  Starlette's middleware knows each one's handler
            scope[_ERROR] = error
            await self._handled(scope, receive, send)
        else:
            await response(scope, receive, send)

    def _find(self, method: str, path: str) -> "tuple[_Entry | None, dict[str, Any]]":
        entries = self._entries or self._make_entries()
        if fixed := self._fixed.get((method, path)):
            return fixed, {}
        return _first_match(entries.get((method, _first_segment(path)), ()), path)

    def _make_entries(self) -> "dict[tuple[str, str], list[_Entry]]":
        contexts = list(iter_route_contexts(self._application.routes))
        methods = {method for context in contexts for method in context.methods or ()}
        every = [(context.methods or methods, _Entry.of(context)) for context in contexts]
        segments = {_first_segment(entry.path) for _, entry in every}
        self._entries = {
            (method, segment): [
                entry for of, entry in every if method in of and entry.may_begin_with(segment)
            ]
            for method in methods
            for segment in segments
        }
        self._fixed = {
            (method, entry.path): entry
            for (method, segment), entries in self._entries.items()
            for entry in entries
            if entry.plan
            and _first_segment(entry.path) == segment
            and _first_match(entries, entry.path) == (entry, {})
        }
        return self._entries


def _first_segment(path: str) -> str:
    """`users` of `/users/7`: only routes that begin with it are asked."""
    return path[1:].partition("/")[0]


def _path(scope: Scope) -> str:
    path: str = get_route_path(scope) if scope["root_path"] else scope["path"]
    return path


_ERROR = "gatepost.fastpath.error"


async def _raise_again(scope: Scope, _: Receive, __: Send) -> None:
    raise scope[_ERROR]


@dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    """A route as the table knows it."""

    path: str
    route: routing.BaseRoute
    expression: re.Pattern[str] | None
    """Of its path; None for a mounted application and the like."""
    plan: Plan | None
    """None for a route that is left to FastAPI."""

    @classmethod
    def of(cls, context: RouteContext) -> "_Entry":
        route = context.original_route
        plan: Plan | None = None
        with suppress(Unplanned):
            plan = Plan(context)
        return cls(
            path=context.path or "",
            route=route,
            expression=context.path_regex if isinstance(route, routing.Route) else None,
            plan=plan,
        )

    def may_begin_with(self, segment: str) -> bool:
        """Whether a path with this first segment may be the route's."""
        own = _first_segment(self.path)
        return self.expression is None or "{" in own or own == segment


def _first_match(entries: "list[_Entry] | tuple[()]", path: str) -> tuple[_Entry | None, Any]:
    """The entry that Starlette would choose, if it is planned, and the values in its path."""
    for entry in entries:
        if entry.expression is None:
            break  # only Starlette can say whether this one matches
        if found := entry.expression.match(path):
            if entry.plan is None:
                break
            return entry, entry.plan.path_values(found.groupdict())
    return None, {}
