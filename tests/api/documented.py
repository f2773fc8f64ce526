"""Every problem that a test sees is one that the OpenAPI document lists for its operation."""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import httpx

from api.app import create_app
from api.problems import EVERYWHERE
from tests.fakes.ports import fake_ports
from tests.fakes.tokens import FakeTokens

Codes = set[tuple[int, str]]
ANYWHERE: Codes = {(code.status, code.code) for code in EVERYWHERE}


def codes_of(operation: dict[str, Any], schemas: dict[str, Any]) -> Iterator[tuple[int, str]]:
    """Status and code of each problem that the operation documents."""
    for status, response in operation["responses"].items():
        if status[0] in "45":
            schema = response["content"]["application/problem+json"]["schema"]
            for reference in schema.get("oneOf", [schema]):
                name = reference["$ref"].rpartition("/")[2]
                members = schemas[name]["allOf"][-1]["properties"]
                assert members["status"]["const"] == int(status)
                yield int(status), members["code"]["const"]


class _OfAProvider(FakeTokens):
    has_local_login = False


@cache
def _documented() -> list[tuple[str, re.Pattern[str], Codes]]:
    """Method, path and problems of each operation; paths without parameters come first."""
    found: dict[tuple[str, str], Codes] = defaultdict(set)
    for ports in (fake_ports(), replace(fake_ports(), tokens=_OfAProvider())):
        document = create_app(ports, cursor_keys=[b"k" * 32]).openapi()
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                schemas = document["components"]["schemas"]
                found[method.upper(), path] |= set(codes_of(operation, schemas))
    return [
        (method, re.compile(re.sub(r"{\w+}", "[^/]+", path)), codes)
        for (method, path), codes in sorted(found.items(), key=lambda it: it[0][1].count("{"))
    ]


NO_OPERATION = {(404, "not_found"), (405, "method_not_allowed")}


async def refuse_undocumented(answer: httpx.Response) -> None:
    """A hook of httpx."""
    is_problem = answer.headers.get("Content-Type") == "application/problem+json"
    if not is_problem or not await answer.aread():  # HEAD
        return
    seen = (answer.status_code, answer.json()["code"])
    if seen in NO_OPERATION:
        return
    method = answer.request.method
    path = answer.request.url.path.rstrip("/")
    for operation, template, codes in _documented():
        if operation == method and template.fullmatch(path):
            assert seen in codes | ANYWHERE, (
                f"{method} {template.pattern} does not document {seen}: declare it by"
                " application.errors.raises, beside the use case or the endpoint"
            )
            return
