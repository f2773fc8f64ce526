"""The OpenAPI document is true: examples are accepted, documented responses occur."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.api import provocations
from tests.api.caller import OPERATIONS, a_caller, example
from tests.api.client import ApiClient, on_one_database
from tests.api.expected import Provocation, expected_routes

CONCURRENT: frozenset[tuple[str, int]] = frozenset(
    (
        ("create_post", 409),  # posts only
    )
)
"""Responses that need two transactions at work at once, and so PostgreSQL."""
ON_ALL: dict[int, Provocation] = {
    200: provocations.succeed,
    201: provocations.succeed,
    202: provocations.succeed,
    204: provocations.succeed,
    401: provocations.as_nobody,
    403: provocations.without_the_scope,
    404: provocations.on_nobody,
    413: provocations.with_a_huge_body,
    415: provocations.with_another_type,
    422: provocations.with_nonsense,
    429: provocations.too_often,
    503: provocations.without_a_database,
}
# begin: posts only
ON_ALL |= {
    304: provocations.with_what_is_known,
    404: provocations.on_a_draft_of_another,
    412: provocations.on_another_version,
}
# end: posts only


def _asked_together() -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """Database, operation and statuses: together where request and refusal leave nothing behind,
    and by itself every other answer.
    """
    for row in expected_routes():
        statuses = sorted(int(status) for status in OPERATIONS[row.operation][2]["responses"])
        apart = [
            status
            for status in statuses
            if status < 400 or status in row.refusals or callable(row.request)
        ]
        yield "sqlite", row.operation, tuple(it for it in statuses if it not in apart)
        for status in apart:
            is_concurrent = (row.operation, status) in CONCURRENT
            yield "postgresql" if is_concurrent else "sqlite", row.operation, (status,)


@pytest.mark.parametrize(
    ("database_url", "name", "statuses"),
    [it for it in _asked_together() if it[2]],
    indirect=["database_url"],
    ids=str,
)
async def test_every_documented_response_occurs_as_documented(
    api: ApiClient, name: str, statuses: tuple[int, ...]
) -> None:
    caller = await a_caller(api)
    (row,) = [row for row in expected_routes() if row.operation == name]
    for status in statuses:
        caller.client = api.client
        answer = await (row.refusals.get(status) or ON_ALL[status])(caller, name)

        assert answer.status_code == status, answer.text
        assert_documented(answer, OPERATIONS[name][2]["responses"][str(status)])


def assert_documented(answer: httpx.Response, documented: dict[str, Any]) -> None:
    content = answer.headers.get("Content-Type")
    assert ([content] if content else []) == list(documented.get("content", {}))
    optional = {
        "Link",
        "Idempotency-Replayed",  # posts only
    }
    for header in documented.get("headers", {}).keys() - optional:
        assert header in answer.headers


WITH_EXAMPLES = [
    name for name, (_, _, o) in OPERATIONS.items() if set(o["tags"]) == {"posts"} and example(o)
]


@on_one_database
@pytest.mark.parametrize("name", WITH_EXAMPLES)
async def test_the_example_of_each_request_is_accepted(api: ApiClient, name: str) -> None:
    caller = await a_caller(api)

    answer = await caller.call(name)

    assert answer.is_success
    given = example(OPERATIONS[name][2])
    assert given
    assert answer.json() == answer.json() | given


def test_links_name_existing_operations_and_parameters() -> None:
    links = OPERATIONS["create_post"][2]["responses"]["201"]["links"]

    assert links
    for link in links.values():
        _, path, _ = OPERATIONS[link["operationId"]]
        assert all(f"{{{parameter}}}" in path for parameter in link["parameters"])


@on_one_database
async def test_the_example_of_each_header_is_accepted(api: ApiClient) -> None:
    caller = await a_caller(api)
    for name, (_, _, operation) in OPERATIONS.items():
        for parameter in operation.get("parameters", []):
            if parameter["in"] == "header":
                for given in parameter["schema"]["examples"]:
                    answer = await caller.call(name, headers={parameter["name"]: given})
                    assert answer.is_success or answer.status_code == 412, name
