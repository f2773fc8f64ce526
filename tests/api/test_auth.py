"""Login, and requests with access tokens."""

import json
from base64 import urlsafe_b64decode
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from application.ports.tokens import Claims
from infrastructure.tokens.jose import JoseTokens, hs256_key
from tests.api.client import PASSWORD, ApiClient, Person, on_one_database, problem_of
from tests.api.expected import AUTH, Expected, Options, allowed
from tests.api.provocations import with_wrong_credentials
from tests.fakes.tokens import issued


async def credentials(_gate: ApiClient, person: Person) -> Options:
    return {"data": {"username": person.email, "password": PASSWORD}}


async def refresh_token(_gate: ApiClient, person: Person) -> Options:
    return {"data": {"refresh_token": person.refresh_token}}


ROUTES = [
    Expected(
        operation="login",
        route="POST /login",
        request=credentials,
        # The account, and whether it is known in the client's network (for the limits and for the
        # notice); the new session, and the end of those over the maximum.
        queries=["read", "read", "read", "change", "change", "commit"],
        refusals={401: with_wrong_credentials},
    ),
    Expected(
        operation="refresh",
        route="POST /refresh",
        request=refresh_token,
        queries=["read", "change", "change", "commit"],
        refusals={401: with_wrong_credentials},
    ),
    Expected(
        operation="logout",
        route="POST /logout",
        statuses=allowed(204),
        queries=[*AUTH, "change", "commit"],
    ),
    Expected(operation="read_keys", route="GET /.well-known/jwks.json"),
]


async def test_a_login_response_has_tokens_and_is_not_cacheable(api: ApiClient) -> None:
    anna = await api.person()

    answer = await api.log_in(anna.email)

    assert answer.status_code == 200
    tokens = answer.json()
    assert set(tokens) == {
        "access_token",
        "token_type",
        "expires_in",
        "refresh_token",
        "refresh_expires_in",
    }
    assert tokens["token_type"] == "bearer"
    assert tokens["expires_in"] == 3600
    assert tokens["refresh_expires_in"] == 30 * 86_400
    assert tokens["refresh_token"] != tokens["access_token"]
    assert answer.headers["Cache-Control"] == "no-store"


async def test_a_login_form_may_be_multipart_with_a_grant_type(api: ApiClient) -> None:
    anna = await api.person()
    form = {"username": anna.email, "password": PASSWORD, "grant_type": "password", "scope": ""}

    multipart = await api.client.post("/login", files={k: (None, v) for k, v in form.items()})
    urlencoded = await api.client.post("/login", data=form)

    assert (multipart.status_code, urlencoded.status_code) == (200, 200)


async def test_an_address_logs_in_regardless_of_case(api: ApiClient) -> None:
    await api.person("anna@example.com")

    assert (await api.log_in("ANNA@Example.com")).status_code == 200


async def test_each_login_is_a_session_of_its_own(api: ApiClient) -> None:
    anna = await api.person()
    first, second = [(await api.log_in(anna.email)).json() for _ in range(2)]

    assert first["access_token"] != second["access_token"]
    assert first["refresh_token"] != second["refresh_token"]


async def test_all_failed_logins_have_the_same_response(
    api: ApiClient,
) -> None:
    anna, bert = await api.person(), await api.person()
    await api.deactivate(bert)

    answers = [
        await api.log_in("nobody@example.com"),
        await api.log_in(anna.email, "another password"),
        await api.log_in(anna.email, PASSWORD + " "),
        await api.log_in(bert.email),
        await api.log_in("no address\0 at all"),
    ]

    assert len({told(answer, 401, "invalid_credentials") for answer in answers}) == 1
    assert answers[0].headers["WWW-Authenticate"] == "Bearer"
    assert answers[0].json()["detail"] == "Incorrect username or password"


@on_one_database
@pytest.mark.parametrize(
    ("form", "missing"),
    [
        ({"username": "anna@example.com"}, ["password"]),
        ({"password": PASSWORD}, ["username"]),
        ({"Username": "anna@example.com", "Password": PASSWORD}, ["username", "password"]),
        ({}, ["username", "password"]),
    ],
)
async def test_a_form_without_a_field_is_422(
    api: ApiClient, form: dict[str, str], missing: list[str]
) -> None:
    answer = await api.client.post("/login", data=form)

    problem = problem_of(answer, 422, "validation_failed")
    assert [error["loc"] for error in problem["errors"]] == [["body", name] for name in missing]


@on_one_database
async def test_another_grant_type_is_422(api: ApiClient) -> None:
    form = {"username": "anna@example.com", "password": PASSWORD, "grant_type": "implicit"}

    problem_of(await api.client.post("/login", data=form), 422, "validation_failed")


@on_one_database
async def test_credentials_in_json_are_415(api: ApiClient) -> None:
    anna = await api.person()

    answer = await api.client.post("/login", json={"username": anna.email, "password": PASSWORD})

    problem_of(answer, 415, "unsupported_media_type")


NOT_AUTHENTICATED: dict[str, dict[str, str]] = {
    "nothing": {},
    "Basic": {"Authorization": "Basic YW5uYTpwdw=="},
    "a bare token": {"Authorization": "{token}"},
    "Bearer glued to the token": {"Authorization": "Bearer{token}"},
    "an empty header": {"Authorization": ""},
    "a cookie": {"Cookie": "access_token={token}"},
    "another header": {"X-Authorization": "Bearer {token}"},
}


@on_one_database
@pytest.mark.parametrize("headers", NOT_AUTHENTICATED.values(), ids=NOT_AUTHENTICATED)
async def test_a_request_without_credentials_has_a_challenge_without_error_code(
    api: ApiClient, headers: dict[str, str]
) -> None:
    anna = await api.person()
    headers = {name: value.format(token=anna.token) for name, value in headers.items()}

    answer = await api.client.get("/users/me", headers=headers)

    problem = problem_of(answer, 401, "not_authenticated")
    assert problem["detail"] == "Not authenticated"
    metadata = "http://gatepost/.well-known/oauth-protected-resource"
    assert answer.headers["WWW-Authenticate"] == f'Bearer resource_metadata="{metadata}"'


@on_one_database
async def test_a_token_in_the_query_is_ignored(api: ApiClient) -> None:
    anna = await api.person()

    answer = await api.client.get("/users/me", params={"access_token": anna.token})

    problem_of(answer, 401, "not_authenticated")


@on_one_database
async def test_a_token_in_the_query_does_not_replace_a_bad_one(api: ApiClient) -> None:
    anna = await api.person()

    answer = await api.client.get(
        "/users/me", params={"access_token": anna.token}, headers={"Authorization": "Bearer x"}
    )

    assert_bad_token(answer)


@on_one_database
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
async def test_the_scheme_may_be_in_any_case(api: ApiClient, scheme: str) -> None:
    anna = await api.person()

    answer = await api.client.get("/users/me", headers={"Authorization": f"{scheme} {anna.token}"})

    assert answer.status_code == 200


async def test_all_bad_access_tokens_have_the_same_response(
    api: ApiClient,
) -> None:
    anna = await api.person()
    foreign = JoseTokens([hs256_key(b"qB7nW3xK9vT5mZ1sL8dH4jR6cY2gF0pA")], issuer="x", audience="x")
    claims = await api.ports.tokens.verify(anna.token, api.clock())
    assert isinstance(claims, Claims)
    head, payload, signature = anna.token.split(".")
    wrong = {
        "malformed": ["Bearer x"],
        "forged": [f"Bearer {head}.{payload}.{signature[::-1]}"],
        "changed": [f"Bearer {head}.{payload[:-2]}AA.{signature}"],
        "unsigned": [f"Bearer {head}.{payload}."],
        "foreign": [f"Bearer {await issued(foreign, claims)}"],
        "cut": [f"Bearer {anna.token[:-1]}"],
        "long": [f"Bearer {anna.token}{'A' * 5000}"],
        "padded": [f"Bearer {anna.token}="],
        "not ASCII": [f"Bearer {anna.token}é"],
        "two tokens": [f"Bearer {anna.token} {anna.token}"],
        "two tokens with a comma": [f"Bearer {anna.token}, Bearer {anna.token}"],
        "no token": ["Bearer"],
        "an empty token": ["Bearer "],
        "two headers": [f"Bearer {anna.token}"] * 2,
        "two headers of two schemes": ["Basic YTpi", f"Bearer {anna.token}"],
    }

    answers = {cause: await with_authorization(api, values) for cause, values in wrong.items()}

    for answer in answers.values():
        assert_bad_token(answer)
    assert len({told(answer, 401, "invalid_token") for answer in answers.values()}) == 1
    assert (await api.me(anna)).status_code == 200


async def put_forward(api: ApiClient, _: Person) -> None:
    api.clock.ahead += timedelta(seconds=3601)


@pytest.mark.parametrize(
    "end",
    [
        put_forward,
        ApiClient.deactivate,
        ApiClient.delete,
        ApiClient.revoke_sessions,
        ApiClient.expire_sessions,
    ],
    ids=["expired", "deactivated", "deleted", "revoked", "session over"],
)
async def test_a_token_is_refused_on_the_next_request_after_its_revocation(
    api: ApiClient, end: Callable[[ApiClient, Person], Any]
) -> None:
    anna, bert = await api.person(), await api.person()
    assert (await api.me(anna)).status_code == 200

    await end(api, anna)

    answer = await api.me(anna)
    assert_bad_token(answer)
    malformed = await with_authorization(api, ["Bearer x"])
    assert told(answer, 401, "invalid_token") == told(malformed, 401, "invalid_token")
    assert (await api.me(bert)).status_code == (401 if end is put_forward else 200)


async def test_a_token_from_before_a_revocation_of_all_tokens_is_refused(api: ApiClient) -> None:
    anna = await api.person()

    await api.call_tokens_in(anna, api.clock() + timedelta(seconds=1))

    assert_bad_token(await api.me(anna))


@on_one_database
async def test_a_token_is_valid_for_one_hour(api: ApiClient) -> None:
    anna = await api.person()

    api.clock.ahead = timedelta(seconds=3595)

    assert (await api.me(anna)).status_code == 200


@on_one_database
async def test_an_access_token_has_only_ids_and_times(api: ApiClient) -> None:
    anna = await api.person()
    header, claims = decoded(anna.token)

    assert set(header) == {"typ", "alg", "kid"}
    assert (header["typ"], header["alg"]) == ("at+jwt", "HS256")
    assert set(claims) == {"iss", "aud", "sub", "sid", "iat", "exp", "jti"}
    assert claims["sub"] == str(anna.id)
    assert claims["exp"] - claims["iat"] == 3600


async def with_authorization(api: ApiClient, values: list[str]) -> httpx.Response:
    headers = [(b"Authorization", value.encode("latin-1")) for value in values]
    return await api.client.get("/users/me", headers=headers)


def assert_bad_token(answer: httpx.Response) -> None:
    problem = problem_of(answer, 401, "invalid_token")
    assert problem["detail"] == "Could not validate credentials"
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


def told(answer: httpx.Response, status: int, code: str) -> str:
    """All that an answer tells, but for the request's id."""
    problem = problem_of(answer, status, code)
    headers = dict(answer.headers)
    for id_ in (problem.pop("request_id"), headers.pop("x-request-id")):
        assert id_
    del headers["content-length"]  # the id's length may differ
    return f"{problem} {headers}"


def decoded(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    header, claims = (
        json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        for part in token.split(".")[:2]
    )
    return header, claims


async def test_an_address_logs_in_in_every_form_it_can_be_registered_in(
    api: ApiClient,
) -> None:
    body = {"email": "anna@xn--exmple-cua.com", "password": PASSWORD}
    assert (await api.client.post("/users", json=body)).status_code == 201

    for domain in ("xn--exmple-cua.com", "exämple.com", "EXÄMPLE.COM ", "EXÄMPLE。com"):
        assert (await api.log_in(f"ANNA@{domain}")).status_code == 200, domain
