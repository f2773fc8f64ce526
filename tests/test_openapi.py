"""The OpenAPI document: what clients are made from."""

import json
import os
import subprocess
from collections.abc import Iterator
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import iter_route_contexts

from api.app import create_app
from api.problems import code_of
from api.routing import Route
from application.errors import errors_of
from domain.posts import WRITING_RULES
from domain.scopes import TOKEN_SCOPES
from tests.api.client import EXTENSIONS, MEMBERS
from tests.api.documented import codes_of
from tests.api.expected import expected_routes
from tests.fakes.ports import fake_ports
from tests.programs import program

SNAPSHOT = Path(__file__).with_name("openapi.json")
PUBLIC = {row.operation for row in expected_routes() if row.statuses is None}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app(fake_ports(), cursor_keys=[b"k" * 32]).openapi()


Operation = dict[str, Any]


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, Operation]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def test_the_document_equals_its_snapshot(document: dict[str, Any]) -> None:
    known = json.loads(SNAPSHOT.read_text())

    assert document == known, (
        "What clients see has changed. If it is meant to, take a new snapshot: make openapi"
    )


def test_operation_ids_are_those_of_generated_clients(document: dict[str, Any]) -> None:
    names = {
        operation["operationId"]: f"{method.upper()} {path}"
        for method, path, operation in operations(document)
    }

    assert names == {row.operation: row.route for row in expected_routes()}


def test_an_operation_is_public_or_documents_its_token_and_401(
    document: dict[str, Any],
) -> None:
    for _, _, operation in operations(document):
        if operation["operationId"] in PUBLIC:
            assert operation["security"] == []
        else:
            ((scheme, scopes),) = operation["security"][0].items()
            assert (scheme, len(operation["security"])) == ("OAuth2PasswordBearer", 1)
            assert len(scopes) <= 1  # none: only a session may do it
            assert {"401", "403"} <= operation["responses"].keys()
    schemes = document["components"]["securitySchemes"]
    assert schemes["OAuth2PasswordBearer"]["flows"] == {
        "password": {
            "scopes": {scope.value: scope.description for scope in TOKEN_SCOPES},
            "tokenUrl": "login",
        }
    }


def test_every_documented_error_is_a_problem(document: dict[str, Any]) -> None:
    refusals = [
        response
        for _, _, operation in operations(document)
        for status, response in operation["responses"].items()
        if status[0] in "45"
    ]

    assert refusals
    for refusal in refusals:
        ((media_type, content),) = refusal["content"].items()
        assert media_type == "application/problem+json"
        names = {reference.rpartition("/")[2] for reference in refs(content)}
        assert names
        assert all(name.endswith("Problem") and name != "Problem" for name in names)


def test_an_operation_lists_the_codes_that_its_use_case_and_its_input_have(
    document: dict[str, Any],
) -> None:
    schemas = document["components"]["schemas"]
    found = {
        operation["operationId"]: {
            code for status, code in codes_of(operation, schemas) if status != 503
        }
        for _, _, operation in operations(document)
    }

    assert found["refresh"] == {
        *("invalid_token", "content_too_large", "unsupported_media_type"),
        *("validation_failed", "too_many_requests"),
    }


def test_an_endpoint_that_calls_use_cases_declares_what_they_raise() -> None:
    contexts = iter_route_contexts(create_app(fake_ports(), cursor_keys=[b"k" * 32]).routes)
    routes = [each.original_route for each in contexts if each.include_in_schema]
    endpoints = [route.endpoint for route in routes if isinstance(route, Route)]
    calling = [each for each in endpoints if "use_cases" in signature(each).parameters]

    assert calling
    for endpoint in calling:
        errors_of(endpoint)  # raises TypeError


def test_an_operation_lists_the_codes_of_the_rules_of_posts(document: dict[str, Any]) -> None:
    create_post = document["paths"]["/posts"]["post"]
    found = set(codes_of(create_post, document["components"]["schemas"]))

    assert {(code.status, code.code) for code in map(code_of, errors_of(WRITING_RULES))} <= found


def test_an_operation_with_input_documents_422(document: dict[str, Any]) -> None:
    for _, _, operation in operations(document):
        takes_body = "requestBody" in operation
        assert ("413" in operation["responses"]) is takes_body
        assert ("415" in operation["responses"]) is takes_body
        takes_input = takes_body or "parameters" in operation
        assert ("422" in operation["responses"]) is takes_input


def test_a_limited_operation_documents_429(document: dict[str, Any]) -> None:
    # A protected one too: guesses of personal tokens are limited.
    # Nobody guesses 256 random bits, however often they try.
    unlimited = {"revoke"}
    for method, _, operation in operations(document):
        name = operation["operationId"]
        is_limited = operation["security"] or (method != "get" and name not in unlimited)
        assert ("429" in operation["responses"]) is bool(is_limited)


def test_the_framework_s_own_errors_are_not_documented(document: dict[str, Any]) -> None:
    assert "ValidationError" not in json.dumps(document)


def test_every_reference_can_be_resolved(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]

    referred = {reference.removeprefix("#/components/schemas/") for reference in refs(document)}

    assert "Problem" in referred
    assert referred <= schemas.keys()


def test_a_problem_is_documented_as_it_is_sent(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    members = {
        name: {
            member
            for part in schemas[name]["allOf"]
            for member in part.get("properties") or members_of(part, schemas)
        }
        for name in (
            "UserNotFoundProblem",
            "ValidationFailedProblem",
            "SecondFactorRequiredProblem",
        )
    }

    assert members["UserNotFoundProblem"] == MEMBERS
    assert members["ValidationFailedProblem"] == MEMBERS | {"errors"}
    extension = EXTENSIONS["second_factor_required"]
    assert members["SecondFactorRequiredProblem"] == MEMBERS | extension


def members_of(reference: dict[str, str], schemas: dict[str, Any]) -> set[str]:
    return set(schemas[reference["$ref"].rpartition("/")[2]]["properties"])


def test_paths_are_listed_without_a_trailing_slash(document: dict[str, Any]) -> None:
    assert [path for path in document["paths"] if path.endswith("/")] == ["/"]


def test_no_response_has_passwords_or_hashes(document: dict[str, Any]) -> None:
    views = {
        name: schema
        for name, schema in document["components"]["schemas"].items()
        if not name.endswith(("Body", "Form", "Registration"))
    }

    assert {"UserView", "TokensView", "EventView"} <= views.keys()
    for name, schema in views.items():
        assert not [member for member in schema.get("properties", {}) if "password" in member], name


def refs(part: object) -> Iterator[str]:
    if isinstance(part, dict):
        for name, value in part.items():
            if name == "$ref":
                yield value
            else:
                yield from refs(value)
    elif isinstance(part, list):
        for value in part:
            yield from refs(value)


LINTER = "@redocly/cli@2.77.0"
RULES = {
    "extends": ["recommended"],
    "rules": {
        "no-empty-servers": "off",  # wherever it runs
        "info-license": "off",
        "operation-4xx-response": "off",  # a probe takes nothing that could be wrong
    },
}


def npx(directory: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    # In .venv, which is nobody's to keep and there the next time.
    cache = Path(__file__).parents[1] / ".venv" / "npm"
    settings = {"npm_config_cache": str(cache), "REDOCLY_TELEMETRY": "off"}
    return subprocess.run(
        ["npx", "--yes", *arguments],
        cwd=directory,
        env={"PATH": os.environ["PATH"], "HOME": str(directory)} | settings,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.slow
def test_a_linter_accepts_the_document(tmp_path: Path) -> None:
    program("npx", package="npm")
    if npx(tmp_path, LINTER, "--version").returncode:
        pytest.skip(f"npx cannot fetch {LINTER}")
    (tmp_path / "redocly.yaml").write_text(json.dumps(RULES))  # JSON is YAML

    linted = npx(tmp_path, LINTER, "lint", "--max-problems=50", str(SNAPSHOT))

    assert linted.returncode == 0, linted.stdout + linted.stderr
    assert "Your API description is valid" in linted.stdout + linted.stderr
    assert "warning" not in linted.stdout
