"""A path without parameters has its own methods, whatever routes with parameters match it."""

import pytest
from fastapi.routing import iter_route_contexts

from tests.api.client import ApiClient, application, client_of, on_one_database, problem_of

pytestmark = on_one_database

MATCHED = {
    ("DELETE", "/users/me/factors"): "GET, HEAD",
    ("DELETE", "/users/me/passkeys/options"): "POST",
    ("PATCH", "/users/me/passkeys/options"): "POST",
}
"""Requests that match a route with parameters, but not on its path, and what their paths allow."""


def test_the_paths_are_all_that_routes_with_parameters_match(api: ApiClient) -> None:
    routes = [
        (method, route)
        for route in iter_route_contexts(api.app.routes)
        for method in route.methods or ()
    ]
    fixed = {(method, route.path) for method, route in routes if "{" not in (route.path or "")}
    paths = {path for _, path in fixed if path}

    matched = {
        (method, path)
        for method, route in routes
        for path in paths
        if "{" in (route.path or "") and route.path_regex.match(path)
    }
    assert matched - fixed == set(MATCHED)


@pytest.mark.parametrize("fastpath", [True, False])
@pytest.mark.parametrize("root_path", ["", "/gate"])
async def test_another_method_is_a_405_that_names_the_path_s_own(
    api: ApiClient, fastpath: bool, root_path: str
) -> None:
    anna = await api.person()
    async with client_of(application(api.ports, fastpath=fastpath, root_path=root_path)) as client:
        for (method, path), allowed in MATCHED.items():
            for headers in (anna.headers, {}):
                answer = await client.request(method, path, headers=headers)
                problem_of(answer, 405, "method_not_allowed")
                assert answer.headers["Allow"] == allowed
        answer = await client.put("/posts", headers=anna.headers)
        assert answer.headers["Allow"] == "GET, HEAD, POST"
        answer = await client.delete("/users/0/factors", headers=anna.headers)
        assert answer.status_code == 422
