"""The service with the tokens of an OpenID provider that runs beside it."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api import test_auth as auth
from tests.api import test_browser as browser
from tests.api import test_factors as factors
from tests.api import test_oauth as oauth
from tests.api import test_passkeys as passkeys
from tests.api import test_personal_tokens as personal_tokens
from tests.api import test_proofs as proofs
from tests.api import test_sessions as sessions
from tests.journeys.processes import Place, Service, on_both_databases

PROGRAM = Path(__file__).parents[1] / "openid_provider.py"
LEFT_TO_THE_PROVIDER = [
    row
    for table in (auth, sessions, factors, proofs, passkeys, personal_tokens, oauth, browser)
    for row in table.ROUTES
    if not row.path.startswith("/.well-known/")
]
"""Logins, sessions, strong login and personal tokens."""


@contextmanager
def running(port: int = 0) -> Iterator[str]:
    """The provider's address."""
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM), str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "AUTHLIB_INSECURE_TRANSPORT": "1"},
    )
    assert process.stdout
    try:
        yield process.stdout.readline().decode().strip()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def token_for(provider: str, **claims: Any) -> str:
    answer = httpx.post(
        f"{provider}/token",
        auth=("tests", "secret"),
        data={"grant_type": "password", "username": json.dumps(claims), "password": "x"},
    )
    token: str = answer.raise_for_status().json()["access_token"]
    return token


def ask(service: Service, token: str) -> httpx.Response:
    with service.client() as client:
        return client.get("/users/me", headers={"Authorization": f"Bearer {token}"})


def trust(place: Place, provider: str) -> None:
    place.settings |= {"TOKENS": "issuer", "ISSUER": provider, "AUDIENCE": "gatepost-tests"}
    if not place.database_url.startswith("sqlite"):
        assert place.run("migrate").status == 0


@on_both_databases
def test_users_come_with_the_tokens_of_their_provider(place: Place) -> None:
    with running() as provider:
        trust(place, provider)
        anna = {"sub": "anna", "email": "anna@example.com", "email_verified": True, "name": "Anna"}
        with place.serving() as service:
            first = ask(service, token_for(provider, **anna))
            assert first.status_code == 200, first.text
            me = first.json()
            assert (me["email"], me["name"], me["is_verified"]) == (
                "anna@example.com",
                "Anna",
                True,
            )
            again = ask(service, token_for(provider, sub="anna"))
            assert again.json() == me

            bert = {"sub": "bert", "email": "bert@example.com"}
            for refused in (
                {"sub": "bert"},
                bert,
                bert | {"email_verified": False},
                {"sub": "eve", "email": "Anna@example.com", "email_verified": True},
                anna | {"iss": "https://evil.test"},
                anna | {"aud": "another"},
                anna | {"exp": 1},
            ):
                answer = ask(service, token_for(provider, **refused))
                assert answer.status_code == 401, refused
                assert answer.json()["code"] == "invalid_token"
            assert ask(service, token_for(provider, **bert, email_verified=True)).status_code == 200

            with service.client() as client:
                headers = {"Authorization": f"Bearer {token_for(provider, **anna)}"}
                for row in LEFT_TO_THE_PROVIDER:
                    path = re.sub(r"{\w+}", "1", row.path)
                    answer = client.request(row.method, path, headers=headers)
                    assert answer.status_code == 404, row.route
                assert client.get("/.well-known/jwks.json").json() == {"keys": []}
                post = {"title": "Hello", "content": "First."}
                assert client.post("/posts", json=post, headers=headers).status_code == 201


def test_users_of_a_provider_change_their_name_and_delete_their_account(place: Place) -> None:
    with running() as provider:
        trust(place, provider)
        anna = {"sub": "anna", "email": "anna@example.com", "email_verified": True}
        headers = {"Authorization": f"Bearer {token_for(provider, **anna)}"}
        with place.serving() as service, service.client() as client:
            me = client.get("/users/me", headers=headers).json()

            renamed = client.patch("/users/me", json={"name": "Hanna"}, headers=headers)
            assert (renamed.status_code, renamed.json()) == (200, me | {"name": "Hanna"})
            moved = client.patch("/users/me", json={"email": "b@example.com"}, headers=headers)
            assert moved.status_code == 422

            assert client.post("/users/me/deletion", headers=headers).status_code == 204
            assert client.get("/users/me", headers=headers).status_code == 401

            paths = client.get("/openapi.json").json()["paths"]
            assert "requestBody" not in paths["/users/me/deletion"]["post"]
            assert "/users/me/password" not in paths


def test_the_provider_changes_its_key_and_goes_down(place: Place) -> None:
    with running() as provider:
        trust(place, provider)
        anna = {"sub": "anna", "email": "anna@example.com", "email_verified": True}
        # Before any request has asked for keys: the new key is among the first that are fetched.
        old = token_for(provider, **anna)
        httpx.post(f"{provider}/rotate")
        new = token_for(provider, **anna)
        with place.serving("--workers", "2") as service:
            with ThreadPoolExecutor(8) as threads:  # one after the other, one worker may take all
                tokens = [old, new] * 50
                answers = list(threads.map(partial(ask, service), tokens))
            assert {answer.status_code for answer in answers} == {200}
            workers = {answer.headers["X-Request-ID"].split("-")[0] for answer in answers}
            assert len(workers) == 2
            httpx.post(f"{provider}/rotate")
            unknown = token_for(provider, **anna)
            assert ask(service, unknown).status_code == 401  # asked for a moment ago

            _stop(provider)
            for token in (old, new) * 4:
                assert ask(service, token).status_code == 200


def _stop(provider: str) -> None:
    with pytest.raises(httpx.TransportError):
        httpx.post(f"{provider}/stop")


def test_a_provider_that_never_answered_is_503(place: Place) -> None:
    with running() as provider:
        token = token_for(provider, sub="anna", email="anna@example.com", email_verified=True)
        trust(place, provider)
    with place.serving() as service:
        answer = ask(service, token)
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({}, "ISSUER"),
        ({"ISSUER": "https://provider.test"}, "AUDIENCE"),
        ({"ISSUER": "provider.test", "AUDIENCE": "x"}, "ISSUER"),
        (
            {
                "ISSUER": "https://provider.test",
                "AUDIENCE": "x",
                "EMAIL_VERIFIED_TEXT": "https://another.test",
            },
            "EMAIL_VERIFIED_TEXT",
        ),
        (
            {
                "ISSUER": "http://provider.test",
                "AUDIENCE": "x",
                "ENVIRONMENT": "production",
                "SECRET_KEY": "vX3kQ8mZ5rT1wN7yB4sL9dH2jF6gC0pU",
            },
            "https",
        ),
    ],
)
def test_the_provider_and_the_audience_must_be_named(
    place: Place, settings: dict[str, str], named: str
) -> None:
    place.settings |= {"TOKENS": "issuer"} | settings

    assert any(named in line for line in place.refusals("serve"))
