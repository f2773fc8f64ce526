"""OAuth clients that others have written, against the started service."""

import re
import secrets
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from authlib.integrations.httpx_client import OAuth2Client  # type: ignore[import-untyped]

from tests.journeys.processes import Service

PASSWORD = "correct horse battery"
SCANNER = re.compile(r"gp_[0-9A-Za-z]{49}")


def person(client: httpx.Client, email: str) -> dict[str, Any]:
    """Register somebody; what their login answers."""
    assert client.post("/users", json={"email": email, "password": PASSWORD}).is_success
    answer = client.post("/login", data={"username": email, "password": PASSWORD})
    tokens: dict[str, Any] = answer.json()
    return tokens


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def make(client: httpx.Client, tokens: dict[str, Any], *scopes: str) -> dict[str, Any]:
    body = {"name": "script", "scopes": list(scopes)}
    answer = client.post("/tokens", json=body, headers=bearer(tokens["access_token"]))
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    with service.client() as client:
        yield client


def test_authlib_introspects_and_revokes(service: Service, client: httpx.Client) -> None:
    root = person(client, "root@example.com")
    service.place.run("create-admin", "root@example.com", "--unverified")
    script = make(client, root, "admin")["token"]
    anna = person(client, "anna@example.com")
    tokens = [
        anna["access_token"],
        anna["refresh_token"],
        make(client, anna, "account:read")["token"],
    ]
    with (
        OAuth2Client(token={"access_token": script, "token_type": "bearer"}) as inspector,
        OAuth2Client("a client", token_endpoint_auth_method="none") as public,
    ):

        def is_active(token: str) -> bool:
            answer = inspector.introspect_token(
                f"{service.url}/introspect", token=token, auth=inspector.token_auth
            )
            assert answer.status_code == 200
            return bool(answer.json()["active"])

        assert [is_active(token) for token in tokens] == [True] * 3
        for token, left in ((tokens[2], [True, True, False]), (tokens[1], [False] * 3)):
            revoked = public.revoke_token(f"{service.url}/revoke", token=token)
            assert revoked.status_code == 200
            assert [is_active(token) for token in tokens] == left


def test_a_client_discovers_what_the_resource_takes(client: httpx.Client, service: Service) -> None:
    refused = client.get("/users/me")
    found = re.fullmatch(r'Bearer resource_metadata="([^"]+)"', refused.headers["WWW-Authenticate"])
    assert found

    metadata = httpx.get(found[1]).json()  # RFC 9728, section 3

    # Section 3.3: what the client asked begins with the resource that the metadata is of.
    assert str(refused.request.url).startswith(metadata["resource"] + "/")
    assert "authorization_servers" not in metadata
    scope = next(scope for scope in metadata["scopes_supported"] if scope == "account:read")
    assert metadata["bearer_methods_supported"] == ["header"]
    token = make(client, person(client, "bert@example.com"), scope)["token"]
    assert client.get("/users/me", headers=bearer(token)).status_code == 200


def test_a_token_is_found_by_scanners_and_never_in_a_log(
    service: Service, client: httpx.Client
) -> None:
    made = make(client, person(client, "carl@example.com"), "account:read")
    token = made["token"]
    assert SCANNER.fullmatch(token)
    made_up = f"gp_{secrets.token_hex(24)}x"

    client.get(f"/users/me?q={token}", headers=bearer(token))
    client.get(f"/{token}", headers=bearer(token))
    client.get("/users/me", headers=bearer(made_up))
    client.post("/revoke", data={"token": token})

    assert client.get("/users/me", headers=bearer(token)).status_code == 401
    service.wait_for_line("token_deleted")
    log = service.log.read_text()
    assert token not in log
    assert made_up not in log
