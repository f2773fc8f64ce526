"""Conditional requests (RFC 9110, section 13)."""

import asyncio
from typing import Any

import httpx
import pytest

from domain.users import Role
from tests.api.client import ApiClient, Person, on_one_database, problem_of

BODY = {"title": "New", "content": "Newer."}


async def ask(
    api: ApiClient, person: Person, method: str, post_id: int, **headers: str
) -> httpx.Response:
    lines = person.headers | {name.replace("_", "-"): value for name, value in headers.items()}
    return await api.client.request(
        method,
        f"/posts/{post_id}",
        json=BODY if method in ("PUT", "PATCH") else None,
        headers=[(name.encode(), value.encode("latin-1")) for name, value in lines.items()],
    )


async def tag_of(api: ApiClient, reader: Person, post_id: int) -> str:
    return (await ask(api, reader, "GET", post_id)).headers["ETag"]


async def test_a_post_has_a_strong_tag_that_starts_with_its_version(
    api: ApiClient,
) -> None:
    anna = await api.person()
    written = await api.client.post("/posts", json=BODY, headers=anna.headers)
    post_id = written.json()["id"]

    read = await ask(api, anna, "GET", post_id)
    head = await ask(api, anna, "HEAD", post_id)
    replaced = await ask(api, anna, "PUT", post_id)

    assert written.headers["ETag"] == read.headers["ETag"] == head.headers["ETag"]
    assert written.headers["ETag"].startswith('"1-')
    assert replaced.headers["ETag"].startswith('"2-')
    assert replaced.headers["ETag"] == await tag_of(api, anna, post_id)


async def test_a_tag_changes_with_everything_in_the_representation(api: ApiClient) -> None:
    anna, bert = await api.person(name="Anna"), await api.person(name="Bert")
    post = await api.post(anna)
    tags = [await tag_of(api, bert, post["id"])]

    await api.client.put(f"/posts/{post['id']}/vote", headers=anna.headers)
    tags.append(await tag_of(api, bert, post["id"]))
    await api.client.put(f"/posts/{post['id']}/vote", headers=bert.headers)
    tags += [await tag_of(api, bert, post["id"]), await tag_of(api, anna, post["id"])]
    await api.client.delete(f"/posts/{post['id']}/vote", headers=anna.headers)
    tags.append(await tag_of(api, bert, post["id"]))

    assert tags[2] == tags[3]  # both have voted and see the same
    assert len(set(tags)) == 4
    assert {tag[:3] for tag in tags} == {'"1-'}


async def test_a_matching_if_none_match_is_a_304_without_a_body(api: ApiClient) -> None:
    anna = await api.person()
    post = await api.post(anna)
    tag = await tag_of(api, anna, post["id"])

    for known in (tag, f"W/{tag}", f'"x", {tag}', f'W/"a,b" ,\t{tag},', "*", " * "):
        for method in ("GET", "HEAD"):
            answer = await ask(api, anna, method, post["id"], If_None_Match=known)
            assert (answer.status_code, answer.content) == (304, b""), known
            assert answer.headers["ETag"] == tag
            assert answer.headers["Cache-Control"] == "private, no-cache"
            assert "Authorization" in answer.headers["Vary"].split(", ")
            assert "Content-Type" not in answer.headers


@on_one_database
async def test_an_if_none_match_that_does_not_match_is_a_200(api: ApiClient) -> None:
    anna = await api.person()
    post = await api.post(anna)
    tag = await tag_of(api, anna, post["id"])

    for known in (tag[1:-1], tag[:-1], tag.upper(), '"1-"', '""', "", "x", '"*"', "\xff", '"*, *'):
        answer = await ask(api, anna, "GET", post["id"], If_None_Match=known)
        assert (answer.status_code, answer.json()) == (200, post), known


async def test_several_lines_of_a_header_are_one_list(api: ApiClient) -> None:
    anna = await api.person()
    post = await api.post(anna)
    tag = await tag_of(api, anna, post["id"])
    lines = [*anna.headers.items(), ("If-None-Match", '"x"'), ("If-None-Match", tag)]

    answer = await api.client.get(f"/posts/{post['id']}", headers=lines)

    assert answer.status_code == 304


async def test_a_304_needs_the_permission_to_read(api: ApiClient) -> None:
    anna, bert = await api.person(), await api.person()
    draft = await api.post(anna, published=False)
    tag = await tag_of(api, anna, draft["id"])

    for known in (tag, "*"):
        hidden = await ask(api, bert, "GET", draft["id"], If_None_Match=known)
        problem_of(hidden, 404, "post_not_found")
        stranger = await api.client.get(f"/posts/{draft['id']}", headers={"If-None-Match": known})
        problem_of(stranger, 401, "not_authenticated")


@on_one_database
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_a_matching_if_match_allows_the_change(api: ApiClient, method: str) -> None:
    anna = await api.person()
    for form in ("{}", '"x", {}', "*", '"0-aa" , {} ,'):
        post = await api.post(anna)
        tag = await tag_of(api, anna, post["id"])

        answer = await ask(api, anna, method, post["id"], If_Match=form.format(tag))

        assert answer.is_success, form


@on_one_database
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_a_vote_does_not_make_an_if_match_stale(api: ApiClient, method: str) -> None:
    anna, bert = await api.person(), await api.person()
    post = await api.post(anna)
    tag = await tag_of(api, anna, post["id"])
    await api.client.put(f"/posts/{post['id']}/vote", headers=bert.headers)
    assert await tag_of(api, anna, post["id"]) != tag

    assert (await ask(api, anna, method, post["id"], If_Match=tag)).is_success


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_a_stale_if_match_is_refused_and_changes_nothing(api: ApiClient, method: str) -> None:
    anna = await api.person()
    post = await api.post(anna)
    old = await tag_of(api, anna, post["id"])
    now: dict[str, Any] = (await ask(api, anna, "PUT", post["id"])).json()
    tag = await tag_of(api, anna, post["id"])

    stale = [old, f"W/{tag}", "", "x", '""', tag[1:-1], '"2"', '"2-"', '"-2-aa"', '"*"', '"3-aa"']
    stale += [f'"{"9" * 5000}-aa"', "\xff", f'W/{tag}, {old}, "x"']
    for condition in stale:
        answer = await ask(api, anna, method, post["id"], If_Match=condition)
        problem = problem_of(answer, 412, "post_changed")
        assert problem["detail"] == "The post has changed since it was read"
    assert (await ask(api, anna, "GET", post["id"])).json() == now


@on_one_database
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_404_and_403_come_before_412(api: ApiClient, method: str) -> None:
    anna, bert = await api.person(), await api.person()
    moderator = await api.person(role=Role.MODERATOR)
    post, draft = await api.post(anna), await api.post(anna, published=False)

    for condition in ('"7-aa"', "*"):
        missing = await ask(api, bert, method, 4711, If_Match=condition)
        problem_of(missing, 404, "post_not_found")
        hidden = await ask(api, bert, method, draft["id"], If_Match=condition)
        problem_of(hidden, 404, "post_not_found")
        forbidden = await ask(api, bert, method, post["id"], If_Match=condition)
        problem_of(forbidden, 403, "not_post_owner")
    stale = await ask(api, moderator, method, post["id"], If_Match='"7-aa"')
    problem_of(stale, 412, "post_changed")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_exactly_one_of_many_writers_with_one_tag_succeeds(
    api: ApiClient, method: str
) -> None:
    anna = await api.person()
    post = await api.post(anna)
    tag = await tag_of(api, anna, post["id"])

    answers = await asyncio.gather(
        *(ask(api, anna, method, post["id"], If_Match=tag) for _ in range(8))
    )

    lost = 404 if method == "DELETE" else 412
    assert sorted(answer.status_code // 100 for answer in answers) == [2] + [4] * 7
    assert {answer.status_code for answer in answers if not answer.is_success} == {lost}
    if method != "DELETE":
        assert (await ask(api, anna, "GET", post["id"])).json()["version"] == 2


def condition(kind: str, current: str) -> str:
    version, _, digest = current.strip('"').partition("-")
    stale = f'"{int(version) + 1}-{digest}"'
    return {
        "*": "*",
        "current": current,
        "stale": stale,
        "weak current": f"W/{current}",
        "several, one current": f"{stale}, {current}",
        "several stale": f'{stale}, "0-0"',
        "no tag": "nothing",
    }[kind]


# By section 13.2.2: for each condition, the statuses of a read and of a change.
PRECONDITIONS: list[tuple[dict[str, str], int, int]] = [
    ({"If_Match": "*"}, 200, 200),
    ({"If_Match": "current"}, 200, 200),
    ({"If_Match": "stale"}, 412, 412),
    ({"If_Match": "weak current"}, 412, 412),
    ({"If_Match": "several, one current"}, 200, 200),
    ({"If_Match": "several stale"}, 412, 412),
    ({"If_Match": "no tag"}, 412, 412),
    ({"If_None_Match": "*"}, 304, 412),
    ({"If_None_Match": "current"}, 304, 412),
    ({"If_None_Match": "stale"}, 200, 200),
    ({"If_None_Match": "weak current"}, 304, 412),
    ({"If_None_Match": "several, one current"}, 304, 412),
    ({"If_None_Match": "several stale"}, 200, 200),
    ({"If_None_Match": "no tag"}, 200, 200),
    ({"If_Match": "current", "If_None_Match": "stale"}, 200, 200),
    ({"If_Match": "current", "If_None_Match": "current"}, 304, 412),
    ({"If_Match": "stale", "If_None_Match": "stale"}, 412, 412),
    ({"If_Match": "stale", "If_None_Match": "current"}, 412, 412),
]


@on_one_database
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(("conditions", "read", "change"), PRECONDITIONS, ids=str)
async def test_preconditions_are_evaluated_as_in_rfc_9110(
    api: ApiClient, method: str, conditions: dict[str, str], read: int, change: int
) -> None:
    anna = await api.person()
    post = await api.post(anna)
    tag = await tag_of(api, anna, post["id"])
    headers = {name: condition(kind, tag) for name, kind in conditions.items()}

    answer = await ask(api, anna, method, post["id"], **headers)
    missing = await ask(api, anna, method, 999, **headers)

    expected = read if method in ("GET", "HEAD") else change
    assert answer.status_code == (204 if (method, expected) == ("DELETE", 200) else expected)
    assert missing.status_code == 404
    if expected == 412:
        assert await tag_of(api, anna, post["id"]) == tag


@on_one_database
@pytest.mark.parametrize("method", ["GET", "PUT"])
@pytest.mark.parametrize("name", ["If_Modified_Since", "If_Unmodified_Since"])
async def test_conditions_on_a_date_are_ignored(api: ApiClient, method: str, name: str) -> None:
    anna = await api.person()
    post = await api.post(anna)

    for date in ("Sat, 01 Jan 2000 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"):
        answer = await ask(api, anna, method, post["id"], **{name: date})
        assert answer.status_code == 200


@on_one_database
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_a_stranger_gets_403_before_a_condition_is_evaluated(
    api: ApiClient, method: str
) -> None:
    post = await api.post(await api.person())
    stranger = await api.person()

    for headers in ({"If_None_Match": "*"}, {"If_Match": '"9-9"'}):
        answer = await ask(api, stranger, method, post["id"], **headers)
        assert answer.status_code == 403
