"""What the OpenAPI document says of posts is so: each example is taken, each answer can be had."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from api.app import create_app
from application.ports.limits import Limit
from domain.posts import PostOptions
from domain.users import UserId
from tests.api.gate import Gate, Person, client_of
from tests.fakes.limits import FakeLimits
from tests.fakes.ports import fake_ports

# Where two transactions of one key can be at work at once.
pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)

DOCUMENT = create_app(fake_ports(), cursor_key=b"k" * 32).openapi()
OPERATIONS = {
    operation["operationId"]: (method.upper(), path, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
    if set(operation["tags"]) & {"posts", "votes"}
}
DOCUMENTED = [
    (name, int(status))
    for name, (_, _, operation) in OPERATIONS.items()
    for status in operation["responses"]
]
HUGE = 2 * 1024 * 1024 + 1


def example(operation: dict[str, Any]) -> dict[str, Any] | None:
    """The body that the document gives as an example; None where there is none."""
    if "requestBody" not in operation:
        return None
    (name,) = {
        content["schema"]["$ref"].rpartition("/")[2]
        for content in operation["requestBody"]["content"].values()
    }
    members = DOCUMENT["components"]["schemas"][name]["properties"]
    return {name: schema["examples"][0] for name, schema in members.items() if "examples" in schema}


class Caller:
    """Calls operations as the document says to, with its examples, but for what is asked for."""

    def __init__(self, gate: Gate, anna: Person) -> None:
        self.gate = gate
        self.anna = anna
        self.client = gate.client

    async def call(
        self,
        name: str,
        *,
        person: Person | None = None,
        post_id: object = None,
        headers: dict[str, str] | None = None,
        query: str = "",
        **body: Any,
    ) -> httpx.Response:
        method, path, operation = OPERATIONS[name]
        if post_id is None and "{post_id}" in path:
            post_id = (await self.gate.post(self.anna))["id"]
        given = example(operation)
        return await self.client.request(
            method,
            path.replace("{post_id}", str(post_id)) + query,
            headers=(person or self.anna).headers | (headers or {}),
            **(body or ({"json": given} if given else {})),
        )


Provocation = Callable[[Caller, str], Awaitable[httpx.Response]]


async def succeed(caller: Caller, name: str) -> httpx.Response:
    return await caller.call(name)


async def as_nobody(caller: Caller, name: str) -> httpx.Response:
    return await caller.call(name, headers={"Authorization": "Bearer x"})


async def on_a_draft_of_another(caller: Caller, name: str) -> httpx.Response:
    draft = await caller.gate.post(await caller.gate.person(), published=False)
    return await caller.call(name, post_id=draft["id"])


async def on_a_post_of_another(caller: Caller, name: str) -> httpx.Response:
    post = await caller.gate.post(await caller.gate.person())
    return await caller.call(name, post_id=post["id"])


async def on_another_version(caller: Caller, name: str) -> httpx.Response:
    return await caller.call(name, headers={"If-Match": '"7-aa"'})


async def with_what_is_known(caller: Caller, name: str) -> httpx.Response:
    return await caller.call(name, headers={"If-None-Match": "*"})


async def with_a_huge_body(caller: Caller, name: str) -> httpx.Response:
    return await caller.call(name, content=b"x" * HUGE)


async def with_a_form(caller: Caller, name: str) -> httpx.Response:
    return await caller.call(name, data={"title": "Hello"})


async def with_nonsense(caller: Caller, name: str) -> httpx.Response:
    if name == "create_post":
        return await caller.call(name, json=[])
    return await caller.call(name, post_id="x", query="?limit=x")


async def with_a_foreign_cursor(caller: Caller, name: str) -> httpx.Response:
    return await caller.call(name, query="?after=x")


async def with_a_bad_key(caller: Caller, name: str) -> httpx.Response:
    return await caller.call(name, headers={"Idempotency-Key": "a b"})


async def with_a_key_in_use(caller: Caller, name: str) -> httpx.Response:
    async with caller.gate.ports.storage() as uow:
        await uow.idempotency.claim(UserId(caller.anna.id), "key", caller.gate.clock())
        return await caller.call(name, headers={"Idempotency-Key": "key"})


async def too_often(caller: Caller, name: str) -> httpx.Response:
    post_id = (await caller.gate.post(caller.anna))["id"]
    ports = replace(caller.gate.ports, limits=FakeLimits({Limit.WRITES: 0}))
    async with client_of(create_app(ports, cursor_key=b"k" * 32)) as client:
        caller.client = client
        return await caller.call(name, post_id=post_id)


async def over_the_quota(caller: Caller, name: str) -> httpx.Response:
    ports = replace(caller.gate.ports, post_options=PostOptions(per_day=1))
    async with client_of(create_app(ports, cursor_key=b"k" * 32)) as client:
        caller.client = client
        await caller.call(name)
        return await caller.call(name)


async def without_a_database(caller: Caller, name: str) -> httpx.Response:
    fakes = fake_ports()
    fakes.storage.down.append("database")
    ports = replace(caller.gate.ports, queries=fakes.queries, storage=fakes.storage)
    async with client_of(create_app(ports, cursor_key=b"k" * 32)) as client:
        caller.client = client
        return await caller.call(name, post_id=1)


ON_ALL: dict[int, Provocation] = {
    200: succeed,
    201: succeed,
    204: succeed,
    304: with_what_is_known,
    401: as_nobody,
    403: on_a_post_of_another,
    404: on_a_draft_of_another,
    412: on_another_version,
    413: with_a_huge_body,
    415: with_a_form,
    422: with_nonsense,
    429: too_often,
    503: without_a_database,
}
ON_ONE: dict[tuple[str, int], Provocation] = {
    ("list_posts", 400): with_a_foreign_cursor,
    ("create_post", 400): with_a_bad_key,
    ("create_post", 409): with_a_key_in_use,
    ("create_post", 429): over_the_quota,
}


@pytest.mark.parametrize(("name", "status"), DOCUMENTED)
async def test_every_documented_answer_can_be_had_and_is_as_documented(
    gate: Gate, name: str, status: int
) -> None:
    caller = Caller(gate, await gate.person())
    provoke = ON_ONE.get((name, status)) or ON_ALL[status]

    answer = await provoke(caller, name)

    documented = OPERATIONS[name][2]["responses"][str(status)]
    assert answer.status_code == status, answer.text
    content = answer.headers.get("Content-Type")
    assert ([content] if content else []) == list(documented.get("content", {}))
    optional = {"Link", "Idempotency-Replayed"}
    for header in documented.get("headers", {}).keys() - optional:
        assert header in answer.headers


@pytest.mark.parametrize("name", [name for name, (_, _, o) in OPERATIONS.items() if example(o)])
async def test_the_example_of_each_request_is_taken_for_what_it_says(gate: Gate, name: str) -> None:
    caller = Caller(gate, await gate.person())

    answer = await caller.call(name)

    assert answer.is_success
    given = example(OPERATIONS[name][2])
    assert given
    assert answer.json() == answer.json() | given


@pytest.mark.usefixtures("database_url")
def test_links_lead_to_operations_by_parameters_that_they_have() -> None:
    links = OPERATIONS["create_post"][2]["responses"]["201"]["links"]

    assert links
    for link in links.values():
        _, path, _ = OPERATIONS[link["operationId"]]
        assert all(f"{{{parameter}}}" in path for parameter in link["parameters"])


async def test_the_example_of_each_header_is_taken(gate: Gate) -> None:
    caller = Caller(gate, await gate.person())
    for name, (_, _, operation) in OPERATIONS.items():
        for parameter in operation.get("parameters", []):
            if parameter["in"] == "header":
                answer = await caller.call(name, headers={parameter["name"]: parameter["example"]})
                assert answer.is_success or answer.status_code == 412, name
