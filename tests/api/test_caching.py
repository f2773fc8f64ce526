"""What has a secret is kept nowhere: one `Cache-Control`, and it says `no-store`."""

import re
from typing import Any

import pytest

from tests.api.caller import DOCUMENT, OPERATIONS, a_caller
from tests.api.client import ApiClient, on_one_database
from tests.api.expected import expected_routes

SECRET = {"access_token", "refresh_token", "token", "secret", "recovery_codes", "challenge"}
"""Members of answers."""
BEYOND_THE_DOCUMENT = {
    "introspect",  # says whose a token is (RFC 7662, section 2.2)
    "log_browser_in",  # the cookie
    "passkey_login_options",  # a challenge
    "passkey_options",
}


def members(answer: dict[str, Any]) -> set[str]:
    schemas = re.findall(r"#/components/schemas/(\w+)", str(answer))
    found = (DOCUMENT["components"]["schemas"][schema] for schema in schemas)
    return {name for schema in found for name in schema.get("properties", ())}


WITH_A_SECRET = BEYOND_THE_DOCUMENT | {
    name
    for name, (_, _, operation) in OPERATIONS.items()
    for status, answer in operation["responses"].items()
    if status.startswith("2") and members(answer) & SECRET
}


def test_the_answers_with_a_secret_are_found() -> None:
    assert {"login", "finish_login", "start_totp", "confirm_totp", "create_token"} <= WITH_A_SECRET


@on_one_database
@pytest.mark.parametrize("name", sorted(WITH_A_SECRET))
async def test_an_answer_with_a_secret_is_kept_nowhere(api: ApiClient, name: str) -> None:
    caller = await a_caller(api)
    (row,) = [row for row in expected_routes() if row.operation == name]
    (success,) = [int(it) for it in OPERATIONS[name][2]["responses"] if it.startswith("2")]
    provoke = row.refusals.get(success)

    answer = await (provoke(caller, name) if provoke else caller.call(name))

    assert answer.status_code == success, answer.text
    assert answer.headers.get_list("Cache-Control") == ["no-store"]
