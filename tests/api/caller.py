"""Calls the operations of the OpenAPI document with its examples."""

from typing import Any

import httpx

from api.app import create_app
from domain.users import Role
from tests.api.client import ApiClient, Person
from tests.api.expected import Options, expected_routes, path_of
from tests.fakes.ports import fake_ports

DOCUMENT = create_app(fake_ports(), cursor_keys=[b"k" * 32]).openapi()
OPERATIONS = {
    operation["operationId"]: (method.upper(), path, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}

ADMINISTRATION = ("administration", "webhooks")
"""The tags of the operations that are for admins alone."""


def example(operation: dict[str, Any]) -> dict[str, Any] | None:
    """The body that the document gives as an example; None where there is none."""
    if "requestBody" not in operation:
        return None
    members = DOCUMENT["components"]["schemas"][body_name(operation)]["properties"]
    return {name: schema["examples"][0] for name, schema in members.items() if "examples" in schema}


def body_name(operation: dict[str, Any]) -> str:
    """The schema of the body, in the first media type of the document."""
    (content, *_) = operation["requestBody"]["content"].values()
    return str(content["schema"]["$ref"].rpartition("/")[2])


class Caller:
    """Calls operations as the document says to, with its examples, but for what is asked for."""

    def __init__(self, api: ApiClient, anna: Person, admin: Person) -> None:
        self.api = api
        self.anna = anna
        self.admin = admin
        self.client = api.client

    async def call(
        self,
        name: str,
        *,
        person: Person | None = None,
        at: dict[str, object] | None = None,
        headers: dict[str, str] | None = None,
        query: str = "",
        **body: Any,
    ) -> httpx.Response:
        method, path, operation = OPERATIONS[name]
        (row,) = [row for row in expected_routes() if row.operation == name]
        person = person or (self.admin if operation["tags"][0] in ADMINISTRATION else self.anna)
        return await self.client.request(
            method,
            await path_of(path, self.api, self.anna, **(at or {})) + query,
            headers=(person.headers if operation["security"] else {})
            | dict(row.headers)
            | (headers or {}),
            **(body or await self.options(name)),
        )

    async def options(self, name: str) -> Options:
        """The document's example, unless a request has to be made for the occasion."""
        (row,) = [row for row in expected_routes() if row.operation == name]
        given = example(OPERATIONS[name][2])
        if given and isinstance(row.request, dict):
            return {"json": given}
        return await row.request_of(self.api, self.anna)


async def a_caller(api: ApiClient) -> Caller:
    anna = await api.person("anna@example.com")  # as the examples call her
    return Caller(api, anna, await api.person(role=Role.ADMIN))
