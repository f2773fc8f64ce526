"""Problems in the OpenAPI document: a schema for each code, and the codes of each operation.

An operation's codes follow from what its endpoint and its dependencies declare by
`application.errors.raises`, and from its input. Nobody lists them.
"""

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, Protocol

from pydantic import BaseModel, Field
from pydantic.json_schema import models_json_schema

from api.errors import HTTP_CODES, phrase, status_of
from api.middleware import HEAD_PROBLEMS
from application.errors import Errors
from domain.challenges import SecondFactorRequired
from domain.errors import DomainError


class Problem(BaseModel):
    """What every problem has (RFC 9457, section 3), beside its status and its code."""

    type: str = Field("about:blank", examples=["about:blank"])
    title: str = Field(examples=["Not Found"])
    detail: str = Field(examples=["User with id: 7 was not found"])
    request_id: str = Field(examples=["5f0c6e1d8a9b4c7e"])


class FieldError(BaseModel):
    loc: list[str | int] = Field(examples=[["body", "title"]])
    msg: str = Field(examples=["Field required"])
    type: str = Field(examples=["missing"])


class FieldErrors(BaseModel):
    errors: list[FieldError] = Field(description="Each error and its location")


class LoginChallenge(BaseModel):
    challenge: str = Field(description="For `POST /login/second-factor`")
    methods: list[Literal["totp", "recovery_code", "passkey"]]
    expires_in: int = Field(description="Seconds", examples=[300])


MEMBERS: Mapping[str, type[BaseModel]] = {
    SecondFactorRequired.code: LoginChallenge,
    HTTP_CODES[422]: FieldErrors,
}
"""What the problems with these codes have besides (RFC 9457, section 3.2)."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class ProblemCode:
    status: int
    code: str
    meaning: str
    schema: str
    """The name of its schema in the OpenAPI document."""


def code_of(error: type[DomainError]) -> ProblemCode:
    described = next(each for each in error.__mro__ if each.__dict__.get("__doc__"))
    meaning = error.detail or inspect.cleandoc(described.__doc__ or "").partition("\n")[0]
    return ProblemCode(
        status=status_of(error), code=error.code, meaning=meaning, schema=f"{error.__name__}Problem"
    )


def http_code(status: int, code: str, meaning: str = "") -> ProblemCode:
    """A code that no class has."""
    schema = code.title().replace("_", "") + "Problem"
    return ProblemCode(status=status, code=code, meaning=meaning or phrase(status), schema=schema)


EVERYWHERE = {
    *(http_code(status, *problem) for status, problem in HEAD_PROBLEMS.items()),
    http_code(500, "internal_error", "Something went wrong on our side"),
    http_code(503, "stopped", "The service stopped before it had answered"),
}
"""Codes of what answers before or instead of an endpoint. They are documented for an operation
where it has another code with the same status.
"""
OF_INPUT = {http_code(422, HTTP_CODES[422])}
OF_BODIES = {http_code(status, HTTP_CODES[status]) for status in (413, 415)}


class Raising(Protocol):
    """A route, as far as its problems go."""

    @property
    def raised(self) -> Errors: ...


def document_problems(document: dict[str, Any], routes: Mapping[str, Raising]) -> None:
    """Add to each operation the problems that it can answer with; `routes` are by operation id."""
    schemas = document["components"]["schemas"]
    for framework_s_own in ("HTTPValidationError", "ValidationError"):
        schemas.pop(framework_s_own, None)
    used = set()
    for methods in document["paths"].values():
        for operation in methods.values():
            codes = codes_of(operation, routes[operation["operationId"]].raised)
            operation["responses"].pop("422", None)
            operation["responses"] |= _responses(codes)
            used |= codes
    schemas |= _schemas(used)


def codes_of(operation: Mapping[str, Any], raised: Errors) -> set[ProblemCode]:
    """The codes of the operation; each once, also where two errors share one."""
    found = sorted(map(code_of, raised), reverse=True)
    codes = set({(each.status, each.code): each for each in found}.values())
    if "requestBody" in operation:
        codes |= OF_BODIES
    if "requestBody" in operation or "parameters" in operation:
        codes |= OF_INPUT
    statuses = {code.status for code in codes}
    return codes | {code for code in EVERYWHERE if code.status in statuses}


def _responses(codes: Iterable[ProblemCode]) -> dict[str, Any]:
    return {
        str(status): {
            "description": phrase(status),
            "content": {"application/problem+json": {"schema": _one_of(group)}},
        }
        for status, group in groupby(sorted(codes), lambda code: code.status)
    }


def _one_of(codes: Iterable[ProblemCode]) -> dict[str, Any]:
    references = [{"$ref": f"#/components/schemas/{code.schema}"} for code in codes]
    return references[0] if len(references) == 1 else {"oneOf": references}


def _schemas(codes: Iterable[ProblemCode]) -> dict[str, Any]:
    models: list[type[BaseModel]] = [Problem, *MEMBERS.values()]
    _, generated = models_json_schema(
        [(model, "serialization") for model in models], ref_template="#/components/schemas/{model}"
    )
    definitions: dict[str, Any] = generated["$defs"]
    for code in sorted(codes):
        if code.schema in definitions:
            raise ValueError(f"two errors would have the schema {code.schema}: rename one")
        definitions[code.schema] = _schema(code)
    return definitions


def _schema(code: ProblemCode) -> dict[str, Any]:
    parts: list[type[BaseModel]] = [Problem]
    if code.code in MEMBERS:
        parts.append(MEMBERS[code.code])
    return {
        "title": code.schema,
        "description": code.meaning,
        "allOf": [
            *({"$ref": f"#/components/schemas/{part.__name__}"} for part in parts),
            {
                "type": "object",
                "properties": {
                    "status": {"type": "integer", "const": code.status},
                    "code": {"type": "string", "const": code.code},
                },
                "required": ["status", "code"],
            },
        ],
    }
