"""Metrics of requests at `/metrics`."""

from dataclasses import replace

import pytest
from fastapi import FastAPI

from api.app import create_app
from application.ports.limits import Limit, Limits
from domain.posts import PostOptions
from infrastructure.limits import ProcessLimits, Rate
from infrastructure.metrics import Metrics
from tests.api.client import (
    PASSWORD,
    ApiClient,
    Watch,
    application,
    client_of,
    on_one_database,
    problem_of,
)
from tests.fakes.ports import fake_ports
from tests.prometheus import Scrape

pytestmark = on_one_database

REQUESTS = "gatepost_http_requests_total"
SECONDS = "gatepost_http_request_duration_seconds"


@pytest.fixture
def limits(clock: Watch) -> Limits:
    return ProcessLimits({limit: Rate(5, 60) for limit in Limit}, clock)


@pytest.fixture
def app() -> FastAPI:
    return application(fake_ports(), metrics=Metrics([]))


async def scrape(api: ApiClient) -> Scrape:
    return Scrape(await api.client.get("/metrics"))


async def test_requests_are_counted_by_method_route_and_status(api: ApiClient) -> None:
    anna = await api.person()
    post = await api.post(anna)
    for number in (post["id"], post["id"], 4711):
        await api.client.get(f"/posts/{number}/", headers=anna.headers)
    await api.client.head("/posts", headers=anna.headers)
    await api.client.delete("/login")

    seen = await scrape(api)

    assert seen(REQUESTS, method="POST", route="/posts", status="201") == 1
    assert seen(REQUESTS, method="GET", route="/posts/{post_id}", status="200") == 2
    assert seen(REQUESTS, method="GET", route="/posts/{post_id}", status="404") == 1
    assert seen(REQUESTS, method="HEAD", route="/posts", status="200") == 1
    assert seen(REQUESTS, method="DELETE", route="/login", status="405") == 1
    assert seen(f"{SECONDS}_count", method="GET", route="/posts/{post_id}") == 3
    assert seen(f"{SECONDS}_bucket", method="GET", route="/posts/{post_id}", le="+Inf") == 3
    assert 0 < seen(f"{SECONDS}_sum", method="GET", route="/posts/{post_id}") < 60


async def test_unknown_paths_and_methods_add_no_labels(api: ApiClient) -> None:
    for number in range(5):
        await api.client.get(f"/nowhere/{number}")
        await api.client.request(f"VERB{number}", "/posts")

    seen = await scrape(api)

    assert seen(REQUESTS, method="GET", route="", status="404") == 5
    assert seen.labels(REQUESTS, "route") == {"", "/posts"}
    assert seen.labels(REQUESTS, "method") == {"GET", "other"}


async def test_requests_for_metrics_are_counted(api: ApiClient) -> None:
    await scrape(api)

    assert (await scrape(api))(REQUESTS, method="GET", route="/metrics", status="200") == 1


async def test_logins_are_counted_by_outcome_and_refusals_by_reason(api: ApiClient) -> None:
    anna = await api.person("anna@example.com")
    for _ in range(3):
        await api.log_in("anna@example.com", "wrong")
    for _ in range(4):
        await api.log_in("anna@example.com", PASSWORD)
    await api.client.get("/users/me")
    await api.client.get("/users/me", headers={"Authorization": "Bearer nonsense"})
    for number in range(6):
        await api.client.post(
            "/posts", json={"title": str(number), "content": "x"}, headers=anna.headers
        )

    seen = await scrape(api)

    assert seen("gatepost_logins_total", outcome="succeeded") == 2
    assert seen("gatepost_logins_total", outcome="failed") == 3
    assert seen("gatepost_logins_total", outcome="refused") == 2
    refusals = "gatepost_refusals_total"
    assert seen(refusals, status="401", reason="invalid_credentials") == 3
    assert seen(refusals, status="401", reason="not_authenticated") == 1
    assert seen(refusals, status="401", reason="invalid_token") == 1
    assert seen(refusals, status="429", reason=Limit.LOGINS) == 2
    assert seen(refusals, status="429", reason=Limit.WRITES) == 1


async def test_a_429_by_a_business_rule_is_not_counted_as_a_limit(api: ApiClient) -> None:
    """It is a 429 too, of a request that told how another limit stands."""
    lines: list[dict[str, object]] = []

    def note(method: str, path: str, **fields: object) -> None:
        lines.append(fields)

    app = create_app(
        replace(api.ports, post_options=PostOptions(per_day=1)),
        cursor_keys=[b"k" * 32],
        metrics=Metrics([]),
        access_log=note,
    )
    anna = await api.person()
    async with client_of(app) as client:
        for _ in range(2):
            answer = await client.post(
                "/posts", json={"title": "x", "content": "x"}, headers=anna.headers
            )
        seen = Scrape(await client.get("/metrics"))

    problem_of(answer, 429, "quota_reached")
    assert seen("gatepost_refusals_total", status="429", reason="quota_reached") == 1
    assert (lines[1]["error"], lines[1]["limit"]) == ("quota_reached", None)


async def test_openmetrics_is_sent_on_request(api: ApiClient) -> None:
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}

    answer = await api.client.get("/metrics", headers=accept)

    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


async def test_without_metrics_their_path_is_404(api: ApiClient) -> None:
    app = create_app(api.ports, cursor_keys=[b"k" * 32])

    async with client_of(app) as client:
        problem_of(await client.get("/metrics"), 404, "not_found")


async def test_metrics_with_a_token_need_that_token(api: ApiClient) -> None:
    app = create_app(
        api.ports,
        cursor_keys=[b"k" * 32],
        metrics=Metrics([]),
        metrics_token="the-token-of-prometheus",
    )
    refused: list[tuple[list[str], str]] = [
        ([], "not_authenticated"),
        (["Basic c2NyYXBlcjp0b2tlbg=="], "not_authenticated"),
        (["Bearer other"], "invalid_token"),
        (["Bearer the-token-of-prometheuS"], "invalid_token"),
        (["Bearer the-token-of-prometheus-"], "invalid_token"),
        (["Bearer"], "invalid_token"),
        (["Bearer \xe9"], "invalid_token"),
        (["Bearer the-token-of-prometheus", "Bearer the-token-of-prometheus"], "invalid_token"),
    ]
    async with client_of(app) as client:
        for credentials, code in refused:
            headers = [(b"Authorization", value.encode("latin-1")) for value in credentials]
            answer = await client.get("/metrics", headers=headers)
            problem_of(answer, 401, code)
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")

        bearer = {"Authorization": "Bearer the-token-of-prometheus"}
        assert (await client.get("/metrics", headers=bearer)).status_code == 200
