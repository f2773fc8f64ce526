"""Votes for posts."""

import asyncio
from typing import Any

import httpx
import pytest

from domain.users import Role
from tests.api.client import ApiClient, Person, problem_of
from tests.api.expected import AUTH, Expected, allowed

ROUTES = [
    Expected(
        operation="cast_vote",
        route="PUT /posts/{post_id}/vote",
        statuses=allowed(204),
        on_draft=(401, 404, 204, 204, 204, 401),
        queries=[*AUTH, "read", "commit"],
    ),
    Expected(
        operation="withdraw_vote",
        route="DELETE /posts/{post_id}/vote",
        statuses=allowed(204),
        on_draft=(401, 404, 204, 204, 204, 401),
        queries=[*AUTH, "read"],
    ),
]


async def vote(api: ApiClient, method: str, post_id: int, voter: Person) -> httpx.Response:
    return await api.client.request(method, f"/posts/{post_id}/vote", headers=voter.headers)


async def votes(api: ApiClient, post: dict[str, Any], reader: Person) -> tuple[int, bool]:
    answer = (await api.client.get(f"/posts/{post['id']}", headers=reader.headers)).json()
    (listed,) = (await api.client.get("/posts", headers=reader.headers)).json()
    assert listed == answer
    return answer["votes"], answer["voted"]


async def test_a_vote_can_be_cast_and_withdrawn_repeatedly(api: ApiClient) -> None:
    anna, bert = await api.person(), await api.person()
    post = await api.post(anna)

    for method, count in (("PUT", 1), ("PUT", 1), ("DELETE", 0), ("DELETE", 0), ("PUT", 1)):
        answer = await vote(api, method, post["id"], bert)
        assert (answer.status_code, answer.content) == (204, b"")
        assert await votes(api, post, bert) == (count, count == 1)
        assert await votes(api, post, anna) == (count, False)


async def test_an_author_may_vote_for_their_own_post(api: ApiClient) -> None:
    anna = await api.person()
    post = await api.post(anna)

    await vote(api, "PUT", post["id"], anna)

    answer = await api.client.get(f"/posts/{post['id']}", headers=anna.headers)
    assert answer.json() == post | {"votes": 1, "voted": True}


async def test_concurrent_votes_of_one_user_count_once(api: ApiClient) -> None:
    anna, bert = await api.person(), await api.person()
    post = await api.post(anna)

    answers = await asyncio.gather(*(vote(api, "PUT", post["id"], bert) for _ in range(8)))

    assert [answer.status_code for answer in answers] == [204] * 8
    assert await votes(api, post, bert) == (1, True)


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_a_vote_on_an_invisible_post_is_404(api: ApiClient, method: str) -> None:
    anna, bert = await api.person(), await api.person()
    moderator = await api.person(role=Role.MODERATOR)
    draft = await api.post(anna, published=False)

    for post_id in (draft["id"], 4711):
        problem = problem_of(await vote(api, method, post_id, bert), 404, "post_not_found")
        assert problem["detail"] == f"Post with id: {post_id} was not found"
    for voter in (anna, moderator):
        assert (await vote(api, method, draft["id"], voter)).status_code == 204
    assert await votes(api, draft, anna) == ((2, True) if method == "PUT" else (0, False))


async def test_removing_a_user_removes_their_votes(api: ApiClient) -> None:
    anna, bert = await api.person(), await api.person()
    post = await api.post(anna)
    await vote(api, "PUT", post["id"], bert)

    await api.delete(bert)

    assert await votes(api, post, anna) == (0, False)
