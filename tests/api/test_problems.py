"""Problems in the OpenAPI document: what `api.problems` makes of the errors that routes raise."""

from dataclasses import dataclass
from typing import Any

import pytest

from api.problems import document_problems
from application.errors import Errors
from domain.errors import Conflict, DomainError, NotFound, Unavailable


class Missing(NotFound):
    detail = "It is not there"


class AlsoMissing(NotFound):
    code = "missing"


class Down(Unavailable):
    pass


@dataclass(frozen=True)
class Raising:
    raised: Errors


def documented(*errors: type[DomainError], **operation: Any) -> tuple[dict[str, Any], Any]:
    """The responses of an operation that raises `errors`, and the schemas of the document."""
    operation = {"operationId": "read", "responses": {"200": {}}} | operation
    document: dict[str, Any] = {"paths": {"/": {"get": operation}}, "components": {"schemas": {}}}
    document_problems(document, {"read": Raising(frozenset(errors))})
    return operation["responses"], document["components"]["schemas"]


def schemas_of(response: dict[str, Any]) -> list[str]:
    schema = response["content"]["application/problem+json"]["schema"]
    return [each["$ref"].rpartition("/")[2] for each in schema.get("oneOf", [schema])]


def test_a_code_has_a_schema_with_its_status_its_code_and_its_meaning() -> None:
    responses, schemas = documented(Missing)

    assert list(responses) == ["200", "404"]
    assert schemas_of(responses["404"]) == ["MissingProblem"]
    schema = schemas["MissingProblem"]
    assert schema["description"] == "It is not there"
    own = schema["allOf"][-1]
    assert {name: each["const"] for name, each in own["properties"].items()} == {
        "status": 404,
        "code": "missing",
    }


def test_a_code_that_two_errors_share_is_listed_once() -> None:
    responses, _ = documented(Missing, AlsoMissing)

    assert schemas_of(responses["404"]) == ["AlsoMissingProblem"]


def test_what_can_answer_any_request_is_listed_beside_codes_of_its_status() -> None:
    responses, _ = documented(Down)

    assert schemas_of(responses["503"]) == ["DownProblem", "StoppedProblem"]
    assert "500" not in responses


def test_input_adds_its_codes_and_the_framework_s_own_answer_goes() -> None:
    framework_s = {"422": {"description": "Validation Error"}}
    responses, _ = documented(parameters=[{}], responses=framework_s)
    assert {status: schemas_of(each) for status, each in responses.items()} == {
        "422": ["ValidationFailedProblem"]
    }

    responses, _ = documented(requestBody={}, responses={})
    assert list(responses) == ["413", "415", "422"]


def test_two_errors_of_one_name_are_refused() -> None:
    other = type("Missing", (Conflict,), {})

    with pytest.raises(ValueError, match="two errors would have the schema MissingProblem"):
        documented(Missing, other)
