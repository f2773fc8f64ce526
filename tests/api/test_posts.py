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
        queries=[*AUTH, "change", "change", "commit"],
    ),
    Expected(
        operation="change_post",
        route="PATCH /posts/{post_id}",
        statuses=FOR_OWNERS,
        on_draft=DRAFT,
        request={"json": {"title": "Another"}},
        queries=[*AUTH, "change", "change", "commit"],
    ),
    Expected(
        operation="delete_post",
        route="DELETE /posts/{post_id}",
        statuses=(401, 403, 204, 204, 204, 401),
        on_draft=(401, 404, 204, 204, 204, 401),
        queries=[*AUTH, "change", "change", "commit"],
    ),
]


async def post_of(gate: ApiClient, owner: Person) -> object:
    return (await gate.post(owner))["id"]


IDS = {"post_id": post_of}

BODY = {"title": "Hello", "content": "First post."}


async def test_a_new_post_belongs_to_the_current_user(gate: ApiClient) -> None:
    await gate.person()
    anna = await gate.person(name="Anna")
    before = gate.clock()

    answer = await gate.client.post("/posts", json=BODY, headers=anna.headers)

    assert answer.status_code == 201
    post = answer.json()
    created_at = datetime.fromisoformat(post.pop("created_at"))
    assert before <= created_at <= gate.clock()
    assert datetime.fromisoformat(post.pop("updated_at")) == created_at
    assert post == {
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


async def test_times_are_in_utc_with_an_offset(gate: ApiClient) -> None:
    post = await gate.post(await gate.person())

    for member in ("created_at", "updated_at"):
        assert datetime.fromisoformat(post[member]).utcoffset() == timedelta()


async def test_the_location_of_a_new_post_can_be_read(gate: ApiClient) -> None:
    anna = await gate.person()
    written = await gate.client.post("/posts", json=BODY, headers=anna.headers)

    answer = await gate.client.get(written.headers["Location"], headers=anna.headers)

    assert answer.status_code == 200
    assert answer.json() == written.json()


async def test_an_owner_without_a_name_has_the_name_null(gate: ApiClient) -> None:
    anna = await gate.person(name=None)

    assert (await gate.post(anna))["owner"] == {"id": anna.id, "name": None}


async def test_a_title_is_trimmed_and_a_content_is_not(gate: ApiClient) -> None:
    post = await gate.post(await gate.person(), title="  Hello \n", content="  as it is\r\n ")

    assert (post["title"], post["content"]) == ("Hello", "  as it is\r\n ")


async def test_every_character_is_stored_as_it_was_sent(gate: ApiClient) -> None:
    anna = await gate.person()
    text = "'; DROP TABLE posts; -- \\ \" %s :x {} \x01\x7f\u2028\ufeffé e\u0301 李 🦊\U0010ffff"

    post = await gate.post(anna, title=text, content=text)

    stored = await gate.client.get(f"/posts/{post['id']}", headers=anna.headers)
    assert stored.json()["content"] == text
    assert stored.json()["title"] == text


@pytest.mark.parametrize("length", [1, 200])
async def test_a_title_has_up_to_200_characters_after_trimming(
    gate: ApiClient, length: int
) -> None:
    post = await gate.post(await gate.person(), title=f" {'🦊' * length} ")

    assert len(post["title"]) == length


@pytest.mark.parametrize("length", [1, 100_000])
async def test_a_content_has_up_to_100_000_characters(gate: ApiClient, length: int) -> None:
    post = await gate.post(await gate.person(), content="🦊" * length)

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
    gate: ApiClient, members: dict[str, Any], member: str
) -> None:
    anna = await gate.person()
    post = await gate.post(anna)

    for method, path in (("POST", "/posts"), ("PUT", f"/posts/{post['id']}")):
        answer = await gate.client.request(method, path, json=BODY | members, headers=anna.headers)
        problem = problem_of(answer, 422, "validation_failed")
        assert [error["loc"] for error in problem["errors"]] == [["body", member]]
    assert await listed(gate, anna) == [post]


@on_one_database
@pytest.mark.parametrize(
    "member", ["owner_id", "owner", "votes", "voted", "id", "version", "created_at", "role"]
)
async def test_clients_cannot_set_fields_of_the_server(gate: ApiClient, member: str) -> None:
    anna = await gate.person()
    post = await gate.post(anna)

    for method, path in (("POST", "/posts"), ("PUT", f"/posts/{post['id']}")):
        answer = await gate.client.request(
            method, path, json=BODY | {member: 4711}, headers=anna.headers
        )
        problem = problem_of(answer, 422, "validation_failed")
        assert [error["type"] for error in problem["errors"]] == ["extra_forbidden"]
    assert await listed(gate, anna) == [post]


async def test_every_user_may_read_a_published_post(gate: ApiClient) -> None:
    anna, bert = await gate.person(), await gate.person()
    post = await gate.post(anna)

    answer = await gate.client.get(f"/posts/{post['id']}", headers=bert.headers)

    assert answer.status_code == 200
    assert answer.json() == post


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_a_missing_post_is_404_with_its_id(gate: ApiClient, method: str) -> None:
    anna = await gate.person()
    body = BODY if method == "PUT" else None

    answer = await gate.client.request(method, "/posts/4711", json=body, headers=anna.headers)

    problem = problem_of(answer, 404, "post_not_found")
    assert problem["detail"] == "Post with id: 4711 was not found"


async def replace(gate: ApiClient, post: dict[str, Any], editor: Person, **members: Any) -> Any:
    return await gate.client.put(
        f"/posts/{post['id']}", json=BODY | members, headers=editor.headers
    )


async def delete(gate: ApiClient, post: dict[str, Any], editor: Person) -> httpx.Response:
    return await gate.client.delete(f"/posts/{post['id']}", headers=editor.headers)


async def test_a_replacement_changes_the_post_and_increments_the_version(gate: ApiClient) -> None:
    anna = await gate.person()
    post = await gate.post(anna)
    gate.clock.ahead = timedelta(seconds=5)

    answer = await replace(gate, post, anna, title=" New ", content="Newer.", published=False)

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
    assert await listed(gate, anna) == [replaced]


@pytest.mark.parametrize("published", [True, False])
async def test_a_replacement_without_published_keeps_it(gate: ApiClient, published: bool) -> None:
    anna = await gate.person()
    post = await gate.post(anna, published=published)

    assert (await replace(gate, post, anna)).json()["published"] is published


async def test_a_deleted_post_is_gone_and_its_id_is_not_reused(gate: ApiClient) -> None:
    anna = await gate.person()
    post = await gate.post(anna)

    answer = await delete(gate, post, anna)

    assert answer.status_code == 204
    assert answer.content == b""
    assert "Content-Type" not in answer.headers
    for again in (await delete(gate, post, anna), await read(gate, post, anna)):
        problem_of(again, 404, "post_not_found")
    assert (await gate.post(anna))["id"] > post["id"]


async def read(gate: ApiClient, post: dict[str, Any], reader: Person) -> httpx.Response:
    return await gate.client.get(f"/posts/{post['id']}", headers=reader.headers)


@pytest.mark.parametrize("change", [replace, delete])
async def test_another_user_may_not_change_a_post(
    gate: ApiClient, change: Callable[[ApiClient, dict[str, Any], Person], Any]
) -> None:
    anna, bert = await gate.person(), await gate.person()
    post = await gate.post(anna)

    problem = problem_of(await change(gate, post, bert), 403, "not_post_owner")

    assert problem["detail"] == "Only the owner of a post and moderators may change it"
    assert (await read(gate, post, anna)).json() == post


@pytest.mark.parametrize("role", [Role.MODERATOR, Role.ADMIN])
async def test_moderators_and_admins_change_every_post_and_keep_its_owner(
    gate: ApiClient, role: Role
) -> None:
    anna, moderator = await gate.person(name="Anna"), await gate.person(role=role)
    post = await gate.post(anna)

    replaced = await replace(gate, post, moderator, title="Moderated")

    assert replaced.status_code == 200
    assert replaced.json()["title"] == "Moderated"
    assert replaced.json()["owner"] == {"id": anna.id, "name": "Anna"}
    assert (await delete(gate, post, moderator)).status_code == 204


async def test_a_demoted_moderator_changes_nothing_from_the_next_request_on(
    gate: ApiClient,
) -> None:
    anna, moderator = await gate.person(), await gate.person(role=Role.MODERATOR)
    post = await gate.post(anna)
    assert (await replace(gate, post, moderator)).status_code == 200

    await gate.set_role(moderator, Role.MEMBER)

    problem_of(await replace(gate, post, moderator), 403, "not_post_owner")


async def test_a_draft_exists_only_for_its_owner_and_moderators(gate: ApiClient) -> None:
    anna, bert = await gate.person(), await gate.person()
    privileged = [await gate.person(role=role) for role in (Role.MODERATOR, Role.ADMIN)]
    draft = await gate.post(anna, published=False)
    missing = {"id": 4711}

    for attempt in (read, replace, delete):
        hidden = problem_of(await attempt(gate, draft, bert), 404, "post_not_found")
        absent = problem_of(await attempt(gate, missing, bert), 404, "post_not_found")
        assert hidden["detail"] == absent["detail"].replace("4711", str(draft["id"]))
    assert await listed(gate, bert) == []
    assert await listed(gate, bert, published="false") == []
    assert await listed(gate, bert, owner_id=anna.id) == []
    for reader in (anna, *privileged):
        assert (await read(gate, draft, reader)).json() == draft
        assert await listed(gate, reader) == [draft]


async def test_a_post_becomes_a_draft_and_is_published_again(gate: ApiClient) -> None:
    anna, bert = await gate.person(), await gate.person()
    post = await gate.post(anna)

    await replace(gate, post, anna, published=False)
    assert (await read(gate, post, bert)).status_code == 404
    await replace(gate, post, anna, published=True)
    assert (await read(gate, post, bert)).status_code == 200


async def test_deleting_a_user_deletes_their_posts(gate: ApiClient) -> None:
    anna, bert = await gate.person(), await gate.person()
    post = await gate.post(anna)

    await gate.delete(anna)

    assert (await read(gate, post, bert)).status_code == 404


async def listed(gate: ApiClient, reader: Person, **query: Any) -> Any:
    answer = await gate.client.get("/posts", params=query, headers=reader.headers)
    assert answer.status_code == 200, answer.text
    return answer.json()
