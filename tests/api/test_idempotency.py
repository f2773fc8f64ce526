"""Idempotency keys."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest

from tests.api.client import ApiClient, Person, on_one_database, problem_of

BODY = {"title": "Hello", "content": "First post."}


async def send(
    api: ApiClient, author: Person, key: str | None, body: dict[str, Any] = BODY
) -> httpx.Response:
    headers = author.headers | ({} if key is None else {"Idempotency-Key": key})
    return await api.client.post("/posts", json=body, headers=headers)


async def posts(api: ApiClient, reader: Person) -> list[Any]:
    found: list[Any] = (await api.client.get("/posts", headers=reader.headers)).json()
    return found


async def test_a_repeated_request_gets_the_first_response(api: ApiClient) -> None:
    anna = await api.person()

    first, second, third = [await send(api, anna, "key") for _ in range(3)]

    assert first.status_code == 201
    assert "Idempotency-Replayed" not in first.headers
    for again in (second, third):
        assert (again.status_code, again.content) == (201, first.content)
        for header in ("ETag", "Location", "Content-Type"):
            assert again.headers[header] == first.headers[header]
        assert again.headers["Idempotency-Replayed"] == "true"
    assert await posts(api, anna) == [first.json()]


async def test_the_first_response_is_repeated_after_the_post_has_changed(
    api: ApiClient,
) -> None:
    anna = await api.person()
    first = await send(api, anna, "key")
    path = first.headers["Location"]

    await api.client.patch(path, json={"title": "New"}, headers=anna.headers)
    assert (await send(api, anna, "key")).json() == first.json()
    await api.client.delete(path, headers=anna.headers)
    assert (await send(api, anna, "key")).json() == first.json()
    assert await posts(api, anna) == []


async def test_bodies_are_compared_as_parsed(api: ApiClient) -> None:
    anna = await api.person()
    first = await send(api, anna, "key")

    again = await api.client.post(
        "/posts",
        content=' { "published" : true, "content":"First post\\u002e",  "title": "Hello " } ',
        headers=anna.headers | {"Idempotency-Key": "key", "Content-Type": "application/json"},
    )

    assert (again.status_code, again.json()) == (201, first.json())


@on_one_database
@pytest.mark.parametrize("other", [{"title": "New"}, {"content": "New."}, {"published": False}])
async def test_a_key_with_another_body_is_refused(api: ApiClient, other: dict[str, Any]) -> None:
    anna = await api.person()
    first = await send(api, anna, "key")

    problem_of(await send(api, anna, "key", BODY | other), 422, "idempotency_key_reused")

    assert await posts(api, anna) == [first.json()]
    assert (await send(api, anna, "key")).json() == first.json()


async def test_keys_belong_to_their_user_and_are_optional(api: ApiClient) -> None:
    anna, bert = await api.person(), await api.person()

    answers = [
        await send(api, *sent)
        for sent in ((anna, "key"), (bert, "key"), (anna, "KEY"), (anna, None), (anna, None))
    ]

    assert len({answer.json()["id"] for answer in answers}) == 5
    assert not any("Idempotency-Replayed" in answer.headers for answer in answers)


async def test_a_refused_request_is_not_stored(api: ApiClient) -> None:
    anna = await api.person()

    problem_of(await send(api, anna, "key", BODY | {"title": ""}), 422, "validation_failed")
    problem_of(await send(api, anna, "key", BODY | {"title": "\0"}), 422, "validation_failed")
    first = await send(api, anna, "key")

    assert first.status_code == 201
    assert "Idempotency-Replayed" not in first.headers


async def test_a_key_is_kept_for_24_hours(api: ApiClient) -> None:
    anna = await api.person()
    first = await send(api, anna, "key")
    another = BODY | {"title": "Another"}

    api.clock.ahead = timedelta(hours=23, minutes=59)
    anna = await logged_in_again(api, anna)
    assert (await send(api, anna, "key")).json() == first.json()
    problem_of(await send(api, anna, "key", another), 422, "idempotency_key_reused")

    api.clock.ahead = timedelta(hours=24, minutes=1)
    fresh = await send(api, anna, "key", another)
    assert fresh.status_code == 201
    assert fresh.json()["id"] != first.json()["id"]
    assert (await send(api, anna, "key", another)).json() == fresh.json()


async def logged_in_again(api: ApiClient, person: Person) -> Person:
    return replace(person, token=(await api.log_in(person.email)).json()["access_token"])


async def test_one_of_many_concurrent_requests_is_carried_out(api: ApiClient) -> None:
    anna = await api.person()

    answers = await asyncio.gather(*(send(api, anna, "key") for _ in range(8)))

    written = [answer for answer in answers if answer.status_code == 201]
    for answer in answers:
        if answer.status_code != 201:
            problem_of(answer, 409, "idempotency_key_in_use")
    assert len([a for a in written if "Idempotency-Replayed" not in a.headers]) == 1
    assert await posts(api, anna) == [written[0].json()]


async def test_concurrent_requests_with_different_keys_are_all_carried_out(api: ApiClient) -> None:
    anna = await api.person()

    answers = await asyncio.gather(*(send(api, anna, f"key{n}") for n in range(12)))

    assert [answer.status_code for answer in answers] == [201] * 12


@on_one_database
@pytest.mark.parametrize("key", ["", " ", "a b", "a\tb", "\x7f", "é", "x" * 256])
async def test_a_malformed_sort_key_is_refused(api: ApiClient, key: str) -> None:
    anna = await api.person()
    headers = [(b"authorization", anna.headers["Authorization"].encode())]

    answer = await api.client.post(
        "/posts", json=BODY, headers=[*headers, (b"idempotency-key", key.encode("latin-1"))]
    )

    problem_of(answer, 400, "invalid_idempotency_key")
    assert await posts(api, anna) == []


@on_one_database
async def test_a_repeated_key_header_is_refused(api: ApiClient) -> None:
    anna = await api.person()
    headers = [*anna.headers.items(), ("Idempotency-Key", "a"), ("Idempotency-Key", "b")]

    answer = await api.client.post("/posts", json=BODY, headers=headers)

    problem_of(answer, 400, "invalid_idempotency_key")


@on_one_database
@pytest.mark.parametrize("key", ["x", "!~", '"3f6c1a52"', "x" * 255])
async def test_every_visible_character_is_allowed_in_a_key(api: ApiClient, key: str) -> None:
    assert (await send(api, await api.person(), key)).status_code == 201
