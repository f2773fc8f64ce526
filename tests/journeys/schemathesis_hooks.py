"""What schemathesis can't know: who it is, and what no schema tells.

It asks `$SERVICE` as a `$ROLE`, nearly always the same one, who owns what it meets.
The admin `$ADMIN`, user 1, has `$PASSWORD`, as everybody does.
"""

import os
from functools import cache
from itertools import count
from typing import Any

import httpx
import schemathesis
from schemathesis import AuthContext, Case, CheckContext, HookContext, Response
from schemathesis.generation.meta import TestPhase

ROLE, ADMIN, PASSWORD = (os.environ[name] for name in ("ROLE", "ADMIN", "PASSWORD"))

UNTOLD = {
    "invalid_cursor",  # a cursor, a code and a tag are made by the service and nobody else
    "invalid_code",
    "post_changed",  # posts only
    "idempotency_key_reused",  # depends on what was sent before  # posts only
    "weak_password",  # a setting, and a list of common ones
    "wrong_code",  # of an authenticator app, or a recovery code
    "bad_passkey",
    "base64url",  # whose last character has bits to spare
    "one_of",  # of several members exactly one has to be there
    "bad_webhook_url",  # another scheme, a user in it, port 0
    "unresolvable_host",  # depends on the names that this machine can resolve
    "not_a_public_address",
    "email",  # `format: email` has addresses that are nobody's, such as a@b.test
}
"""Codes, or types of errors, of what is refused though it is as the schema says."""

Headers = dict[str, str]

_client = httpx.Client(base_url=os.environ["SERVICE"], timeout=20)
_numbers = count(1)


def log_in(email: str) -> Headers:
    answer = _client.post("/login", data={"username": email, "password": PASSWORD})
    answer.raise_for_status()
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def register() -> str:
    """The address of somebody new in the role."""
    email = f"{os.getpid()}-{next(_numbers)}@example.com"
    registered = _client.post("/users", json={"email": email, "password": PASSWORD})
    registered.raise_for_status()
    if ROLE == "admin":
        user = f"/users/{registered.json()['id']}"
        promoted = _client.patch(user, json={"role": "admin"}, headers=headers_of(ADMIN))
        promoted.raise_for_status()
    return email


@cache
def author() -> str:
    return ADMIN if ROLE == "admin" else register()


_headers: dict[str, Headers] = {}


def headers_of(email: str) -> Headers:
    """Of a session that was alive a moment ago."""
    known = _headers.get(email)
    if known is None or _client.get("/users/me", headers=known).status_code == 401:
        _headers[email] = log_in(email)
    return _headers[email]


@schemathesis.auth(refresh_interval=None)
class Bearer:
    """The author; for what may change or end an account, somebody who is not needed any more."""

    def get(self, case: Case[Any], context: AuthContext) -> Headers:
        operation = context.operation
        spoils = operation.path.startswith("/users/me") and operation.method.upper() != "GET"
        return log_in(register()) if spoils else headers_of(author())

    def set(self, case: Case[Any], data: Headers, context: AuthContext) -> None:
        case.headers.update(data)


@schemathesis.hook
def before_load_schema(context: HookContext, raw_schema: dict[str, Any]) -> None:
    """Show the bearer token as what it is on the wire: of OAuth 2 schemes `ignored_auth` checks
    nothing.
    """
    schemes = raw_schema["components"]["securitySchemes"]
    schemes["OAuth2PasswordBearer"] = {"type": "http", "scheme": "bearer"}


@schemathesis.hook
def filter_case(context: HookContext, case: Case[Any]) -> bool:
    """Leave alone the admin who asks: demoted, he would see 403 from then on."""
    changes = case.operation.label == "PATCH /users/{user_id}"
    return not (changes and str(case.path_parameters.get("user_id")) == "1")


@schemathesis.hook  # posts only
def before_call(context: HookContext, case: Case[Any], kwargs: dict[str, Any]) -> None:
    """Follow links from posts that are new: with a key from before, the answer tells of one that
    may be gone by now.
    """
    if case.meta is not None and case.meta.phase.name is TestPhase.STATEFUL:
        case.headers.pop("Idempotency-Key", None)


@schemathesis.check
def refuses_valid_data_only_for_what_no_schema_tells(
    context: CheckContext, response: Response, case: Case[Any]
) -> None:
    valid = case.meta is not None and case.meta.generation.mode.is_positive
    if valid and response.status_code in (400, 412, 422):
        problem = response.json()
        reasons = {error["type"] for error in problem.get("errors", [])} or {problem["code"]}
        assert reasons <= UNTOLD, f"refused for {reasons - UNTOLD}"
