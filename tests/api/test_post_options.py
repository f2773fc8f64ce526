"""The optional rules for posts, over HTTP."""

from dataclasses import replace

from domain.posts import PostOptions
from tests.api.client import ApiClient, client_on, problem_of

BODY = {"title": "Hello", "content": "First post."}


async def test_a_429_for_the_quota_has_retry_after(api: ApiClient) -> None:
    anna = await api.person()
    ports = replace(api.ports, post_options=PostOptions(per_day=1))
    async with client_on(ports) as client:
        headers = anna.headers | {"Idempotency-Key": "key"}
        first = await client.post("/posts", json=BODY, headers=headers)

        refused = await client.post("/posts", json=BODY, headers=anna.headers)
        again = await client.post("/posts", json=BODY, headers=headers)

    problem = problem_of(refused, 429, "quota_reached")
    assert problem["detail"] == "No more than 1 posts in 24 hours"
    assert 86_300 < int(refused.headers["Retry-After"]) <= 86_400
    assert (first.status_code, again.json()) == (201, first.json())


async def test_a_post_of_an_unverified_author_stays_a_draft(api: ApiClient) -> None:
    anna = await api.person()
    ports = replace(api.ports, post_options=PostOptions(drafts_until_verified=True))
    async with client_on(ports) as client:
        body = BODY | {"published": True}
        written = await client.post("/posts", json=body, headers=anna.headers)
        path = written.headers["Location"]
        replaced = await client.put(path, json=body, headers=anna.headers)

    assert (written.status_code, written.json()["published"]) == (201, False)
    assert (replaced.status_code, replaced.json()["published"]) == (200, False)
