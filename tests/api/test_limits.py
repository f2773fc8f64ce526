"""Limits: 429 responses and the header fields."""

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

import httpx
import pytest

from application.ports.limits import Limit, Limits
from infrastructure.limits import FIXED_RATES, ProcessLimits, rate
from infrastructure.settings import Settings
from tests.api.client import (
    PASSWORD,
    ApiClient,
    Person,
    Watch,
    client_of,
    on_one_database,
    problem_of,
)

pytestmark = on_one_database

POST = {"title": "Hello", "content": "First post."}
ALL_RATES = FIXED_RATES | {
    limit: rate(Settings.model_fields[f"limit_{limit.name.lower()}"].default)
    for limit in Limit
    if limit not in FIXED_RATES
}


@pytest.fixture
def limits(clock: Watch) -> Limits:
    """Those of the contract."""
    return ProcessLimits(ALL_RATES, clock)


@dataclass(frozen=True)
class Told:
    """What an answer tells of its one limit."""

    name: str
    quota: int
    window: int
    remaining: int
    resets_in: int


def told(answer: httpx.Response) -> Told:
    policy = re.fullmatch(r'"([a-z-]+)";q=(\d+);w=(\d+)', answer.headers["RateLimit-Policy"])
    state = re.fullmatch(r'"([a-z-]+)";r=(\d+);t=(\d+)', answer.headers["RateLimit"])
    assert policy, answer.headers["RateLimit-Policy"]
    assert state, answer.headers["RateLimit"]
    assert policy[1] == state[1]
    return Told(policy[1], *map(int, (policy[2], policy[3], state[2], state[3])))


def assert_refused(answer: httpx.Response, name: str, quota: int, window: int) -> Told:
    problem_of(answer, 429, "too_many_requests")
    limit = told(answer)
    assert (limit.name, limit.quota, limit.window) == (name, quota, window)
    assert limit.remaining == 0
    assert window - 10 <= limit.resets_in <= window
    assert answer.headers["Retry-After"] == str(limit.resets_in)
    return limit


def statuses(answers: Sequence[httpx.Response]) -> list[int]:
    return [answer.status_code for answer in answers]


async def registration(client: httpx.AsyncClient, email: str) -> httpx.Response:
    return await client.post("/users", json={"email": email, "password": PASSWORD})


async def write(api: ApiClient, author: Person) -> httpx.Response:
    return await api.client.post("/posts", json=POST, headers=author.headers)


async def test_writes_are_limited_by_user(api: ApiClient) -> None:
    anna, bert = await api.person(), await api.person()

    first = await write(api, anna)
    assert told(first) == Told("writes", 120, 60, 119, 60)
    path = first.headers["Location"]
    changes = [
        await api.client.put(path, json=POST, headers=anna.headers),
        await api.client.delete(path, headers=anna.headers),
    ]
    assert statuses(changes) == [200, 204]
    assert [told(change).remaining for change in changes] == [118, 117]
    rest = [await write(api, anna) for _ in range(117)]
    assert set(statuses(rest)) == {201}
    assert told(rest[-1]).remaining == 0

    refused = await write(api, anna)
    assert_refused(refused, "writes", 120, 60)
    assert refused.headers["Cache-Control"] == "private, no-cache"
    assert (await write(api, bert)).status_code == 201
    api.clock.ahead += timedelta(seconds=int(refused.headers["Retry-After"]))
    assert (await write(api, anna)).status_code == 201


async def test_a_refused_write_changes_nothing(api: ApiClient) -> None:
    anna = await api.person()
    for _ in range(120):
        await api.client.delete("/posts/1", headers=anna.headers)

    assert_refused(await write(api, anna), "writes", 120, 60)
    assert (await api.client.get("/posts", headers=anna.headers)).json() == []


async def test_failed_writes_are_counted(api: ApiClient) -> None:
    anna = await api.person()

    answers = [
        await api.client.delete("/posts/7", headers=anna.headers),
        await api.client.post("/posts", json={}, headers=anna.headers),
        await api.client.post("/posts", content="{", headers=anna.headers),
    ]

    assert statuses(answers) == [404, 422, 415]
    assert [told(answer).remaining for answer in answers] == [119, 118, 117]


async def test_unauthenticated_requests_do_not_count_as_writes(api: ApiClient) -> None:
    answer = await api.client.post("/posts", json=POST, headers={"Authorization": "Bearer x"})

    assert answer.status_code == 401
    assert "RateLimit" not in answer.headers


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_reads_are_not_limited(api: ApiClient, method: str) -> None:
    anna = await api.person()

    answers = [await api.client.request(method, "/posts", headers=anna.headers) for _ in range(130)]

    assert set(statuses(answers)) == {200}
    assert "RateLimit" not in answers[-1].headers
    assert told(await write(api, anna)).remaining == 119


async def test_registrations_are_limited_by_network(api: ApiClient) -> None:
    answers = [await registration(api.client, f"user{n}@example.com") for n in range(20)]
    assert set(statuses(answers)) == {201}
    assert told(answers[0]) == Told("registrations", 20, 3600, 19, 3600)

    refused = await registration(api.client, "one.more@example.com")

    assert_refused(refused, "registrations", 20, 3600)
    async with client_of(api.app, ip="192.0.2.1") as elsewhere:
        assert (await registration(elsewhere, "one.more@example.com")).status_code == 201


async def test_addresses_of_one_ipv6_network_share_a_quota(api: ApiClient) -> None:
    emails = iter(f"user{n}@example.com" for n in range(100))
    for number in range(20):
        async with client_of(api.app, ip=f"2001:db8:1:2::{number:x}") as client:
            assert (await registration(client, next(emails))).status_code == 201

    async with client_of(api.app, ip="2001:db8:1:2:ffff::1") as neighbour:
        assert_refused(await registration(neighbour, next(emails)), "registrations", 20, 3600)
    async with client_of(api.app, ip="2001:db8:1:3::1") as stranger:
        assert (await registration(stranger, next(emails))).status_code == 201


async def test_the_networks_of_one_ipv6_site_share_sixteen_quotas(api: ApiClient) -> None:
    for network in range(16):
        async with client_of(api.app, ip=f"2001:db8:1:{network:x}::1") as client:
            answers = [await client.post("/users", json={}) for _ in range(20)]
            assert set(statuses(answers)) == {422}
            assert told(answers[0]) == Told("registrations", 20, 3600, 19, 3600)

    async with client_of(api.app, ip="2001:db8:1:ffff::1") as neighbour:
        assert_refused(await neighbour.post("/users", json={}), "registrations", 320, 3600)
    async with client_of(api.app, ip="2001:db8:2::1") as stranger:
        assert (await stranger.post("/users", json={})).status_code == 422


async def test_logins_are_limited_by_network(api: ApiClient) -> None:
    anna = await api.person()
    logins = [await api.log_in(anna.email) for _ in range(60)]
    assert set(statuses(logins)) == {200}
    assert told(logins[-1]) == Told("logins", 60, 60, 0, told(logins[-1]).resets_in)

    refused = await api.log_in(anna.email)

    assert_refused(refused, "logins", 60, 60)
    async with client_of(api.app, ip="192.0.2.1") as elsewhere:
        form = {"username": anna.email, "password": PASSWORD}
        assert (await elsewhere.post("/login", data=form)).status_code == 200


@pytest.mark.parametrize("is_known", [True, False])
async def test_failed_logins_are_limited_by_account_and_network(
    api: ApiClient, is_known: bool
) -> None:
    anna = await api.person()
    email = anna.email if is_known else "nobody@example.com"
    answers = [await api.log_in(email, "wrong") for _ in range(10)]
    assert set(statuses(answers)) == {401}
    assert {told(answer).name for answer in answers} == {"logins"}

    refused = await api.log_in(email)

    limit = assert_refused(refused, "login-failures", 10, 60)
    assert "WWW-Authenticate" not in refused.headers
    async with client_of(api.app, ip="192.0.2.1") as elsewhere:
        form = {"username": anna.email, "password": PASSWORD}
        assert (await elsewhere.post("/login", data=form)).status_code == 200
    api.clock.ahead += timedelta(seconds=limit.resets_in)
    assert (await api.log_in(email)).status_code == (200 if is_known else 401)


async def test_a_429_does_not_reveal_whether_the_account_exists(api: ApiClient) -> None:
    anna = await api.person()
    answers = []
    for email in (anna.email, "nobody@example.com"):
        for _ in range(11):
            answer = await api.log_in(email, "wrong")
        answers.append(answer)

    known, unknown = [
        ({**answer.json(), "request_id": None}, set(answer.headers)) for answer in answers
    ]
    assert known == unknown


async def test_strangers_share_a_limit_that_does_not_affect_a_known_network(
    api: ApiClient,
) -> None:
    anna = await api.person()
    for network in range(10):
        async with client_of(api.app, ip=f"203.0.113.{network}") as stranger:
            for _ in range(10):
                form = {"username": anna.email, "password": "wrong"}
                assert (await stranger.post("/login", data=form)).status_code == 401

    async with client_of(api.app, ip="198.51.100.1") as stranger:
        form = {"username": anna.email, "password": PASSWORD}
        assert_refused(await stranger.post("/login", data=form), "account-failures", 100, 3600)
    assert (await api.log_in(anna.email)).status_code == 200


async def ask_for_reset(client: httpx.AsyncClient, email: str) -> httpx.Response:
    return await client.post("/password-reset", json={"email": email})


@pytest.mark.parametrize("email", ["anna@example.com", "nobody@example.com"])
async def test_resets_are_limited_by_account_even_without_an_account(
    api: ApiClient, email: str
) -> None:
    await api.person("anna@example.com")

    answers = [await ask_for_reset(api.client, email) for _ in range(5)]

    assert statuses(answers) == [202] * 5
    async with client_of(api.app, ip="198.51.100.1") as elsewhere:
        assert_refused(await ask_for_reset(elsewhere, email.upper()), "account-resets", 5, 3600)
    assert (await ask_for_reset(api.client, "other@example.com")).status_code == 202


async def test_resets_are_limited_by_network(api: ApiClient) -> None:
    answers = [await ask_for_reset(api.client, f"user{n}@example.com") for n in range(20)]

    assert statuses(answers) == [202] * 20
    assert_refused(await ask_for_reset(api.client, "last@example.com"), "resets", 20, 3600)


async def test_verification_mails_to_an_address_are_limited(api: ApiClient) -> None:
    anna = await api.person()

    answers = [
        await api.client.post("/users/me/verification", headers=anna.headers) for _ in range(6)
    ]

    assert statuses(answers) == [202] * 5 + [429]
    assert (await ask_for_reset(api.client, anna.email)).status_code == 202


async def test_a_wrong_current_password_counts_as_a_failed_login(api: ApiClient) -> None:
    anna = await api.person()
    wrong = {"current_password": "wrong horse battery"}
    attempts = [
        ("PUT", "/users/me/password", wrong | {"new_password": "staple battery horse"}),
        ("PATCH", "/users/me", wrong | {"email": "new@example.com"}),
        ("POST", "/users/me/deletion", wrong),
    ]

    answers = [
        await api.client.request(
            *attempts[n % 3][:2], json=attempts[n % 3][2], headers=anna.headers
        )
        for n in range(10)
    ]

    assert statuses(answers) == [403] * 10
    assert (await api.log_in(anna.email)).status_code == 429
    body = {"current_password": PASSWORD}
    answer = await api.client.post("/users/me/deletion", json=body, headers=anna.headers)
    assert answer.status_code == 429


LIMITED_BY_NETWORK = [
    ("POST", "/login", "application/x-www-form-urlencoded", Limit.LOGINS, 60),
    ("POST", "/login", "multipart/form-data; boundary=b", Limit.LOGINS, 60),
    ("POST", "/refresh", "application/x-www-form-urlencoded", Limit.REFRESHES, 60),
    ("POST", "/users", "application/json", Limit.REGISTRATIONS, 20),
    ("POST", "/password-reset", "application/json", Limit.RESETS, 20),
    ("PUT", "/password-reset", "application/json", Limit.RESETS, 20),
    ("POST", "/email-change/undo", "application/json", Limit.RESETS, 20),
    ("POST", "/verification", "application/json", Limit.RESETS, 20),
]


@pytest.mark.parametrize(("method", "path", "media_type", "limit", "quota"), LIMITED_BY_NETWORK)
async def test_a_limit_by_network_is_checked_before_the_body_is_read(
    api: ApiClient, method: str, path: str, media_type: str, limit: Limit, quota: int
) -> None:
    headers = {"Content-Type": media_type}
    reads = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal reads
        reads += 1
        yield b"x" * 20_000

    async def ask() -> httpx.Response:
        return await api.client.request(method, path, content=body(), headers=headers)

    answers = [await ask() for _ in range(quota)]
    assert reads == quota
    assert {answer.status_code for answer in answers} == {413}
    assert told(answers[-1]).remaining == 0

    assert_refused(
        await ask(),
        limit,
        quota,
        told(answers[0]).window,
    )
    assert reads == quota


async def test_pages_that_take_mailed_codes_share_the_limit_of_resets(api: ApiClient) -> None:
    headers = {"Sec-Fetch-Site": "same-origin"}
    paths = [f"/console/{page}" for page in ("reset", "verify", "undo")]
    for number in range(20):
        answer = await api.client.post(paths[number % 3], data={}, headers=headers)
        assert answer.status_code != 429

    for path in paths:
        answer = await api.client.post(path, data={}, headers=headers)
        assert answer.status_code == 429


ENDINGS = [("POST", "/logout"), ("DELETE", "/sessions"), ("DELETE", "/sessions/{id}")]


@pytest.mark.parametrize(("method", "path"), ENDINGS)
async def test_an_exhausted_write_limit_does_not_prevent_revoking_sessions(
    api: ApiClient, method: str, path: str
) -> None:
    anna = await api.person()
    sessions = (await api.client.get("/sessions", headers=anna.headers)).json()
    for _ in range(120):
        await api.client.delete("/posts/1", headers=anna.headers)
    assert_refused(await write(api, anna), "writes", 120, 60)

    path = path.format(id=sessions[0]["id"])
    ended = await api.client.request(method, path, headers=anna.headers)

    assert ended.status_code == 204
    assert told(ended).name == "session-endings"
    assert (await api.me(anna)).status_code == 401


async def test_an_exhausted_write_limit_does_not_prevent_a_change_of_password(
    api: ApiClient,
) -> None:
    anna = await api.person()
    for _ in range(121):
        await api.client.delete("/posts/1", headers=anna.headers)

    body = {"current_password": PASSWORD, "new_password": "staple battery horse"}
    changed = await api.client.put("/users/me/password", json=body, headers=anna.headers)

    assert changed.status_code == 204


async def test_the_limit_of_revocations_is_separate_for_each_session(
    api: ApiClient,
) -> None:
    anna = await api.person()
    stolen = [await api.client.delete("/sessions/1000000", headers=anna.headers) for _ in range(31)]
    assert statuses(stolen) == [404] * 30 + [429]
    assert_refused(stolen[-1], "session-endings", 30, 60)

    token = (await api.log_in(anna.email)).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}

    assert (await api.client.delete("/sessions", headers=headers)).status_code == 204
    assert (await api.me(anna)).status_code == 401
