"""Calling what the OpenAPI document has, as it says to."""

import re
from typing import Any

import httpx

from api.app import create_app
from domain.users import Role
from tests.api.client import PASSWORD, ApiClient, Person
from tests.api.test_one_time_codes import ask_for_reset, ask_for_verification, ask_to_move
from tests.fakes.ports import fake_ports

DOCUMENT = create_app(fake_ports(), cursor_key=b"k" * 32).openapi()
OPERATIONS = {
    operation["operationId"]: (method.upper(), path, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}


def example(operation: dict[str, Any]) -> dict[str, Any] | None:
    """The body that the document gives as an example; None where there is none."""
    if "requestBody" not in operation:
        return None
    members = DOCUMENT["components"]["schemas"][body_name(operation)]["properties"]
    return {name: schema["examples"][0] for name, schema in members.items() if "examples" in schema}


def body_name(operation: dict[str, Any]) -> str:
    (name,) = {
        content["schema"]["$ref"].rpartition("/")[2]
        for content in operation["requestBody"]["content"].values()
    }
    return str(name)


class Caller:
    """Calls operations as the document says to, with its examples, but for what is asked for."""

    def __init__(self, gate: ApiClient, anna: Person, admin: Person) -> None:
        self.gate = gate
        self.anna = anna
        self.admin = admin
        self.client = gate.client

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
        at = at or {}
        for parameter in re.findall(r"{(\w+)}", path):
            value = at[parameter] if parameter in at else await self.something(parameter)
            path = path.replace(f"{{{parameter}}}", str(value))
        person = person or (self.admin if operation["tags"] == ["administration"] else self.anna)
        return await self.client.request(
            method,
            path + query,
            headers=(person.headers if operation["security"] else {}) | (headers or {}),
            **(body or await self.body(name, operation)),
        )

    async def something(self, parameter: str) -> object:
        """What a path leads to."""
        if parameter == "post_id":
            return (await self.gate.post(self.anna))["id"]
        if parameter == "user_id":
            return self.anna.id
        answer = await self.gate.client.get("/sessions", headers=self.anna.headers)
        return answer.json()[0]["id"]

    async def body(self, name: str, operation: dict[str, Any]) -> dict[str, Any]:
        """The example; made up only where none can be."""
        match name:
            case "login":
                return {"data": example(operation)}
            case "refresh":
                return {"data": {"refresh_token": self.anna.refresh_token}}
            case "register":  # whose example is Anna's
                return {"json": {"email": "bela@example.com", "password": PASSWORD}}
            case "change_user":
                return {"json": {"role": "moderator"}}
            case "verify":
                return {"json": {"token": await ask_for_verification(self.gate, self.anna)}}
            case "undo_email_change":
                undo, _ = await ask_to_move(self.gate, self.anna, "new@example.com")
                return {"json": {"token": undo}}
            case "reset_password":
                (token,) = await ask_for_reset(self.gate, self.anna.email)
                return {"json": {"token": token, "new_password": PASSWORD}}
        given = example(operation)
        return {"json": given} if given else {}


async def a_caller(gate: ApiClient) -> Caller:
    anna = await gate.person("anna@example.com")  # as the examples call her
    return Caller(gate, anna, await gate.person(role=Role.ADMIN))
