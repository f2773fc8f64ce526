"""A faster way to the same answers, which can be taken out.

FastAPI works out for every request what an endpoint asks for, and Starlette asks one route after
the other whether it is the one. `RouteTable` does both once: it is a middleware that answers the
requests it has a plan for and passes all others on. With GATEPOST_FASTPATH=off it is not added,
and FastAPI's and Starlette's own ways serve; so they do for requests it has no plan for (forms,
`yield`, functions in threads) and while an application has `dependency_overrides`.

No other module imports from here but `api.app`, and deleting the folder and its lines there takes
it out. It reaches into these parts of other libraries, which `pyproject.toml` bounds for that:

- `fastapi.dependencies.models.Dependant`, its parameters and dependencies
- `fastapi._compat.ModelField.validate`, `.serialize_json`, `.get_default`, `.field_info`, `.alias`
- `fastapi.datastructures.DefaultPlaceholder`
- the attributes of an `APIRoute` as `fastapi.routing.iter_route_contexts` hands them out
- `fastapi.telemetry._api._route_selected`, for the name of a span
- `starlette.middleware.exceptions.ExceptionMiddleware` and `starlette._utils.get_route_path`
- `path_regex` and `param_convertors` of a `starlette.routing.Route`

docs/decisions/0021-planned-routes.md has the figures.
"""
