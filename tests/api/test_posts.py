"""Writing, reading, changing and deleting posts."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from domain.users import Role
from tests.api.client import ApiClient, Person, on_one_database, problem_of
from tests.api.expected import AUTH, Expected, allowed
from tests.api.provocations import (
    over_the_quota,
    with_a_bad_key,
    with_a_foreign_cursor,
    with_a_key_in_use,
)

POST = {"title": "Hello", "content": "First post."}
FOR_OWNERS = (401, 403, 200, 200, 200, 401)
DRAFT = (401, 404, 200, 200, 200, 401)

ROUTES = [
    Expected(
        operation="list_posts",
        route="GET /posts",
        statuses=allowed(200),
        queries=[*AUTH, "list"],
        refusals={400: with_a_foreign_cursor},
    ),
    Expected(
        operation="create_post",
        route="POST /posts",
        statuses=allowed(201),
        request={"json": POST},
        queries=[*AUTH, "add", "commit"],
        refusals={400: with_a_bad_key, 409: with_a_key_in_use, 429: over_the_quota},
    ),
    Expected(
        operation="read_post",
        route="GET /posts/{post_id}",
        statuses=allowed(200),
        on_draft=DRAFT,
        queries=[*AUTH, "read"],
    ),
    Expected(
        operation="replace_post",
        route="PUT /posts/{post_id}",
        statuses=FOR_OWNERS,
        on_draft=DRAFT,
        request={"json": POST},
        queries=[*AUTH, "read", "commit"],
    ),
    Expected(
        operation="change_post",
        route="PATCH /posts/{post_id}",
        statuses=FOR_OWNERS,
        on_draft=DRAFT,
        request={"json": {"title": "Another"}},
        queries=[*AUTH, "read", "commit"],
    ),
    Expected(
        operation="delete_post",
        route="DELETE /posts/{post_id}",
        statuses=(401, 403, 204, 204, 204, 401),
        on_draft=(401, 404, 204, 204, 204, 401),
        queries=[*AUTH, "read", "commit"],
    ),
]


async def post_of(api: ApiClient, owner: Person) -> object:
    return (await api.post(owner))["id"]


IDS = {"post_id": post_of}

BODY = {"title": "Hello", "content": "First post."}


async def test_a_new_post_belongs_to_the_current_user(api: ApiClient) -> None:
    await api.person()
    anna = await api.person(name="Anna")
    before = api.clock()

    answer = await api.client.post("/posts", json=BODY, headers=anna.headers)

    assert answer.status_code == 201
    post = answer.json()
    created_at = datetime.fromisoformat(post.pop("created_at"))
    assert before <= created_at <= api.clock()
    assert datetime.fromisoformat(post.pop("updated_at")) == created_at
    assert post == post | {
        "id": post["id"],
        "title": "Hello",
        "content": "First post.",
        "published": True,
        "version": 1,
        "owner_id": anna.id,
        "owner": {"id": anna.id, "name": "Anna"},
        "votes": 0,
        "voted": False,
    }
    assert answer.headers["Location"] == f"/posts/{post['id']}"


async def test_times_are_in_utc_with_an_offset(api: ApiClient) -> None:
    post = await api.post(await api.person())

    for member in ("created_at", "updated_at"):
        assert datetime.fromisoformat(post[member]).utcoffset() == timedelta()


async def test_the_location_of_a_new_post_can_be_read(api: ApiClient) -> None:
    anna = await api.person()
    written = await api.client.post("/posts", json=BODY, headers=anna.headers)

    answer = await api.client.get(written.headers["Location"], headers=anna.headers)

    assert answer.status_code == 200
    assert answer.json() == written.json()


async def test_an_owner_without_a_name_has_the_name_null(api: ApiClient) -> None:
    anna = await api.person(name=None)

    assert (await api.post(anna))["owner"] == {"id": anna.id, "name": None}


async def test_a_title_is_trimmed_and_a_content_is_not(api: ApiClient) -> None:
    post = await api.post(await api.person(), title="  Hello \n", content="  as it is\r\n ")

    assert (post["title"], post["content"]) == ("Hello", "  as it is\r\n ")


async def test_every_character_is_stored_as_it_was_sent(api: ApiClient) -> None:
    anna = await api.person()
    text = "'; DROP TABLE posts; -- \\ \" %s :x {} \x01\x7f\u2028\ufeffé e\u0301 李 🦊\U0010ffff"

    post = await api.post(anna, title=text, content=text)

    stored = await api.client.get(f"/posts/{post['id']}", headers=anna.headers)
    assert stored.json()["content"] == text
    assert stored.json()["title"] == text


@pytest.mark.parametrize("length", [1, 200])
async def test_a_title_has_up_to_200_characters_after_trimming(api: ApiClient, length: int) -> None:
    post = await api.post(await api.person(), title=f" {'🦊' * length} ")

    assert len(post["title"]) == length


@pytest.mark.parametrize("length", [1, 100_000])
async def test_a_content_has_up_to_100_000_characters(api: ApiClient, length: int) -> None:
    post = await api.post(await api.person(), content="🦊" * length)

    assert len(post["content"]) == length


@on_one_database
@pytest.mark.parametrize(
    ("members", "member"),
    [
        ({"title": ""}, "title"),
        ({"title": " \t\n "}, "title"),
        ({"title": "x" * 201}, "title"),
        ({"title": None}, "title"),
        ({"title": 7}, "title"),
        ({"title": ["Hello"]}, "title"),
        ({"content": ""}, "content"),
        ({"content": "x" * 100_001}, "content"),
        ({"content": None}, "content"),
        ({"content": {"text": "Hello"}}, "content"),
        ({"published": None}, "published"),
        ({"published": "true"}, "published"),
        ({"published": 1}, "published"),
        ({"published": "maybe"}, "published"),
    ],
)
async def test_a_value_out_of_bounds_is_refused_with_its_location(
    api: ApiClient, members: dict[str, Any], member: str
) -> None:
    anna = await api.person()
    post = await api.post(anna)

    for method, path in (("POST", "/posts"), ("PUT", f"/posts/{post['id']}")):
        answer = await api.client.request(method, path, json=BODY | members, headers=anna.headers)
        problem = problem_of(answer, 422, "validation_failed")
        assert [error["loc"] for error in problem["errors"]] == [["body", member]]
    assert await listed(api, anna) == [post]


@on_one_database
@pytest.mark.parametrize(
    "member", ["owner_id", "owner", "votes", "voted", "id", "version", "created_at", "role"]
)
async def test_clients_cannot_set_fields_of_the_server(api: ApiClient, member: str) -> None:
    anna = await api.person()
    post = await api.post(anna)

    for method, path in (("POST", "/posts"), ("PUT", f"/posts/{post['id']}")):
        answer = await api.client.request(
            method, path, json=BODY | {member: 4711}, headers=anna.headers
        )
        problem = problem_of(answer, 422, "validation_failed")
        assert [error["type"] for error in problem["errors"]] == ["extra_forbidden"]
    assert await listed(api, anna) == [post]


async def test_every_user_may_read_a_published_post(api: ApiClient) -> None:
    anna, bert = await api.person(), await api.person()
    post = await api.post(anna)

    answer = await api.client.get(f"/posts/{post['id']}", headers=bert.headers)

    assert answer.status_code == 200
    assert answer.json() == post


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_a_missing_post_is_404_with_its_id(api: ApiClient, method: str) -> None:
    anna = await api.person()
    body = BODY if method == "PUT" else None

    answer = await api.client.request(method, "/posts/4711", json=body, headers=anna.headers)

    problem = problem_of(answer, 404, "post_not_found")
    assert problem["detail"] == "Post with id: 4711 was not found"


async def replace(api: ApiClient, post: dict[str, Any], editor: Person, **members: Any) -> Any:
    return await api.client.put(f"/posts/{post['id']}", json=BODY | members, headers=editor.headers)


async def delete(api: ApiClient, post: dict[str, Any], editor: Person) -> httpx.Response:
    return await api.client.delete(f"/posts/{post['id']}", headers=editor.headers)


async def test_a_replacement_changes_the_post_and_increments_the_version(api: ApiClient) -> None:
    anna = await api.person()
    post = await api.post(anna)
    api.clock.ahead = timedelta(seconds=5)

    answer = await replace(api, post, anna, title=" New ", content="Newer.", published=False)

    assert answer.status_code == 200
    replaced = answer.json()
    assert datetime.fromisoformat(replaced["updated_at"]) > datetime.fromisoformat(
        post["updated_at"]
    )
    assert replaced == post | {
        "title": "New",
        "content": "Newer.",
        "published": False,
        "version": 2,
        "updated_at": replaced["updated_at"],
    }
    assert await listed(api, anna) == [replaced]


@pytest.mark.parametrize("published", [True, False])
async def test_a_replacement_without_published_keeps_it(api: ApiClient, published: bool) -> None:
    anna = await api.person()
    post = await api.post(anna, published=published)

    assert (await replace(api, post, anna)).json()["published"] is published


async def test_a_deleted_post_is_gone_and_its_id_is_not_reused(api: ApiClient) -> None:
    anna = await api.person()
    post = await api.post(anna)

    answer = await delete(api, post, anna)

    assert answer.status_code == 204
    assert answer.content == b""
    assert "Content-Type" not in answer.headers
    for again in (await delete(api, post, anna), await read(api, post, anna)):
        problem_of(again, 404, "post_not_found")
    assert (await api.post(anna))["id"] > post["id"]


async def read(api: ApiClient, post: dict[str, Any], reader: Person) -> httpx.Response:
    return await api.client.get(f"/posts/{post['id']}", headers=reader.headers)


@pytest.mark.parametrize("change", [replace, delete])
async def test_another_user_may_not_change_a_post(
    api: ApiClient, change: Callable[[ApiClient, dict[str, Any], Person], Any]
) -> None:
    anna, bert = await api.person(), await api.person()
    post = await api.post(anna)

    problem = problem_of(await change(api, post, bert), 403, "not_post_owner")

    assert problem["detail"] == "Only the owner of a post and moderators may change it"
    assert (await read(api, post, anna)).json() == post


@pytest.mark.parametrize("role", [Role.MODERATOR, Role.ADMIN])
async def test_moderators_and_admins_change_every_post_and_keep_its_owner(
    api: ApiClient, role: Role
) -> None:
    anna, moderator = await api.person(name="Anna"), await api.person(role=role)
    post = await api.post(anna)

    replaced = await replace(api, post, moderator, title="Moderated")

    assert replaced.status_code == 200
    assert replaced.json()["title"] == "Moderated"
    assert replaced.json()["owner"] == {"id": anna.id, "name": "Anna"}
    assert (await delete(api, post, moderator)).status_code == 204


async def test_a_demoted_moderator_changes_nothing_from_the_next_request_on(
    api: ApiClient,
) -> None:
    anna, moderator = await api.person(), await api.person(role=Role.MODERATOR)
    post = await api.post(anna)
    assert (await replace(api, post, moderator)).status_code == 200

    await api.set_role(moderator, Role.MEMBER)

    problem_of(await replace(api, post, moderator), 403, "not_post_owner")


async def test_a_draft_exists_only_for_its_owner_and_moderators(api: ApiClient) -> None:
    anna, bert = await api.person(), await api.person()
    privileged = [await api.person(role=role) for role in (Role.MODERATOR, Role.ADMIN)]
    draft = await api.post(anna, published=False)
    missing = {"id": 4711}

    for attempt in (read, replace, delete):
        hidden = problem_of(await attempt(api, draft, bert), 404, "post_not_found")
        absent = problem_of(await attempt(api, missing, bert), 404, "post_not_found")
        assert hidden["detail"] == absent["detail"].replace("4711", str(draft["id"]))
    assert await listed(api, bert) == []
    assert await listed(api, bert, published="false") == []
    assert await listed(api, bert, owner_id=anna.id) == []
    for reader in (anna, *privileged):
        assert (await read(api, draft, reader)).json() == draft
        assert await listed(api, reader) == [draft]


async def test_a_post_becomes_a_draft_and_is_published_again(api: ApiClient) -> None:
    anna, bert = await api.person(), await api.person()
    post = await api.post(anna)

    await replace(api, post, anna, published=False)
    assert (await read(api, post, bert)).status_code == 404
    await replace(api, post, anna, published=True)
    assert (await read(api, post, bert)).status_code == 200


async def test_deleting_a_user_deletes_their_posts(api: ApiClient) -> None:
    anna, bert = await api.person(), await api.person()
    post = await api.post(anna)

    await api.delete(anna)

    assert (await read(api, post, bert)).status_code == 404


async def listed(api: ApiClient, reader: Person, **query: Any) -> Any:
    answer = await api.client.get("/posts", params=query, headers=reader.headers)
    assert answer.status_code == 200, answer.text
    return answer.json()
