"""Partial changes of a post (RFC 7396)."""

import asyncio
import json
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.api.client import ApiClient, Person, on_one_database, problem_of


async def patch(api: ApiClient, editor: Person, post_id: int, body: Any) -> httpx.Response:
    return await api.client.patch(
        f"/posts/{post_id}",
        content=body if isinstance(body, bytes) else json.dumps(body),
        headers=editor.headers | {"Content-Type": "application/merge-patch+json"},
    )


async def read(api: ApiClient, reader: Person, post: dict[str, Any]) -> dict[str, Any]:
    answer = await api.client.get(f"/posts/{post['id']}", headers=reader.headers)
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


@on_one_database
@pytest.mark.parametrize(
    "members",
    [
        {"title": "New"},
        {"content": "  Newer. "},
        {"published": False},
        {"title": "New", "published": False},
        {"title": "New", "content": "Newer.", "published": True},
    ],
)
async def test_a_patch_changes_the_named_fields_and_increments_the_version(
    api: ApiClient, members: dict[str, Any]
) -> None:
    anna = await api.person()
    post = await api.post(anna)
    api.clock.ahead = timedelta(seconds=5)

    answer = await patch(api, anna, post["id"], members)

    assert answer.status_code == 200, answer.text
    changed = answer.json()
    assert changed == post | members | {"version": 2, "updated_at": changed["updated_at"]}
    before, after = (datetime.fromisoformat(p["updated_at"]) for p in (post, changed))
    assert before < after
    assert await read(api, anna, post) == changed


async def test_a_patch_without_members_changes_nothing(api: ApiClient) -> None:
    anna, bert = await api.person(), await api.person()
    post, draft = await api.post(anna), await api.post(anna, published=False)
    api.clock.ahead = timedelta(seconds=5)

    answer = await patch(api, anna, post["id"], {})

    assert (answer.status_code, answer.json()) == (200, post)
    assert await read(api, anna, post) == post
    problem_of(await patch(api, bert, post["id"], {}), 403, "not_post_owner")
    problem_of(await patch(api, bert, draft["id"], {}), 404, "post_not_found")


async def test_a_patch_with_the_same_values_is_an_edit(api: ApiClient) -> None:
    anna = await api.person()
    post = await api.post(anna)

    assert (await patch(api, anna, post["id"], {"title": "Hello"})).json()["version"] == 2


@on_one_database
async def test_a_patch_may_have_the_type_json_but_no_other(api: ApiClient) -> None:
    anna = await api.person()
    post = await api.post(anna)
    path = f"/posts/{post['id']}"

    plain = await api.client.patch(path, json={"title": "New"}, headers=anna.headers)
    form = await api.client.patch(path, data={"title": "Newer"}, headers=anna.headers)

    assert plain.json()["title"] == "New"
    problem_of(form, 415, "unsupported_media_type")


@on_one_database
@pytest.mark.parametrize(
    ("members", "loc"),
    [
        ({"title": None}, ["body", "title"]),
        ({"content": None, "title": "New"}, ["body", "content"]),
        ({"published": None}, ["body", "published"]),
        ({"title": " "}, ["body", "title"]),
        ({"title": "x" * 201}, ["body", "title"]),
        ({"content": ""}, ["body", "content"]),
        ({"published": "false"}, ["body", "published"]),
        ({"title": "New", "votes": 7}, ["body"]),
        ({"owner_id": 7}, ["body"]),
        ([{"op": "replace", "path": "/title", "value": "New"}], ["body"]),
        (None, ["body"]),
        ("title", ["body"]),
    ],
)
async def test_a_patch_is_applied_completely_or_not_at_all(
    api: ApiClient, members: Any, loc: list[str]
) -> None:
    anna = await api.person()
    post = await api.post(anna)

    answer = await patch(api, anna, post["id"], members)

    problem = problem_of(answer, 422, "validation_failed")
    assert [error["loc"] for error in problem["errors"]] == [loc]
    assert await read(api, anna, post) == post


@on_one_database
async def test_a_broken_rule_refuses_the_whole_patch(api: ApiClient) -> None:
    anna = await api.person()
    post = await api.post(anna)

    # Whitespace to the domain, and none to the schema.
    answer = await patch(api, anna, post["id"], {"title": "\x1c", "content": "New"})

    problem_of(answer, 422, "bad_title")
    assert await read(api, anna, post) == post


async def test_no_concurrent_patch_is_lost(api: ApiClient) -> None:
    anna = await api.person()
    post = await api.post(anna)
    patches: list[dict[str, Any]] = [{"title": "New"}, {"content": "Newer."}, {"published": False}]

    await asyncio.gather(*(patch(api, anna, post["id"], members) for members in patches))

    changed = await read(api, anna, post)
    assert (changed["title"], changed["content"], changed["published"]) == ("New", "Newer.", False)
    assert changed["version"] == 4
