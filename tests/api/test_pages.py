"""Lists and their pages."""

from typing import Any

import httpx
import pytest

from domain.users import Role
from tests.api.client import URL, ApiClient, Person, on_one_database, problem_of

HUGE = "1" + "0" * 5000


async def page(api: ApiClient, reader: Person, **query: Any) -> httpx.Response:
    return await api.client.get("/posts", params=query, headers=reader.headers)


def ids_of(answer: httpx.Response) -> list[int]:
    assert answer.status_code == 200, answer.text
    return [post["id"] for post in answer.json()]


def after_of(answer: httpx.Response) -> str:
    return httpx.URL(answer.links["next"]["url"]).params["after"]


async def walk(api: ApiClient, reader: Person, **query: Any) -> list[list[int]]:
    """The ids of all pages, by the links that lead from one to the next."""
    answer = await page(api, reader, **query)
    pages = [ids_of(answer)]
    while "next" in answer.links:
        answer = await api.client.get(answer.links["next"]["url"], headers=reader.headers)
        pages.append(ids_of(answer))
    return pages


async def test_an_empty_list_has_no_next_link(api: ApiClient) -> None:
    answer = await page(api, await api.person())

    assert answer.json() == []
    assert "Link" not in answer.headers


async def test_a_list_has_the_same_posts_as_single_reads_newest_first(api: ApiClient) -> None:
    anna = await api.person()
    posts = [await api.post(anna, title=f"Post {n}") for n in range(3)]

    assert (await page(api, anna)).json() == posts[::-1]


async def test_a_page_has_20_posts_by_default(api: ApiClient) -> None:
    anna = await api.person()
    for _ in range(21):
        await api.post(anna)

    assert len((await page(api, anna)).json()) == 20
    assert [len(ids) for ids in await walk(api, anna)] == [20, 1]
    assert [len(ids) for ids in await walk(api, anna, limit=100)] == [21]


@on_one_database
@pytest.mark.parametrize(("posts", "pages"), [(1, [1]), (2, [2]), (3, [2, 1]), (4, [2, 2])])
async def test_the_last_page_has_no_link_even_when_it_is_full(
    api: ApiClient, posts: int, pages: list[int]
) -> None:
    anna = await api.person()
    for _ in range(posts):
        await api.post(anna)

    assert [len(ids) for ids in await walk(api, anna, limit=2)] == pages


async def test_the_next_link_is_a_path_with_the_query(api: ApiClient) -> None:
    anna = await api.person()
    for _ in range(3):
        await api.post(anna)

    answer = await page(api, anna, limit=2, owner_id=anna.id)

    url = httpx.URL(answer.links["next"]["url"])
    assert str(url).startswith("/posts?")
    assert set(url.params) == {"limit", "owner_id", "after"}
    assert (url.params["limit"], url.params["owner_id"]) == ("2", str(anna.id))
    assert answer.headers["Link"] == f'<{url}>; rel="next"'


async def test_paging_during_writes_shows_each_standing_post_exactly_once(
    api: ApiClient,
) -> None:
    anna = await api.person()
    posts = [(await api.post(anna))["id"] for _ in range(6)]

    answer = await page(api, anna, limit=2)
    seen = ids_of(answer)
    await api.post(anna)
    await api.client.delete(f"/posts/{seen[-1]}", headers=anna.headers)
    answer = await page(api, anna, limit=2, after=after_of(answer))
    seen += ids_of(answer)
    await api.client.delete(f"/posts/{posts[1]}", headers=anna.headers)
    answer = await page(api, anna, limit=2, after=after_of(answer))
    seen += ids_of(answer)

    assert seen == [posts[5], posts[4], posts[3], posts[2], posts[0]]
    assert "next" not in answer.links


async def test_the_limit_may_change_between_pages(api: ApiClient) -> None:
    anna = await api.person()
    posts = [(await api.post(anna))["id"] for _ in range(4)][::-1]
    first = await page(api, anna, limit=1)

    answer = await page(api, anna, limit=100, after=after_of(first))

    assert ids_of(answer) == posts[1:]


async def test_a_list_is_filtered_by_owner_and_published(api: ApiClient) -> None:
    anna, bert = await api.person(), await api.person()
    mine = [await api.post(anna, published=published) for published in (True, False)]
    theirs = await api.post(bert)
    moderator = await api.person(role=Role.MODERATOR)

    async def ids(reader: Person, **query: Any) -> list[int]:
        return ids_of(await page(api, reader, **query))

    post, draft = (post["id"] for post in mine)
    assert await ids(anna) == [theirs["id"], draft, post]
    assert await ids(anna, owner_id=anna.id) == [draft, post]
    assert await ids(anna, published="true") == [theirs["id"], post]
    assert await ids(anna, published="false") == [draft]
    assert await ids(anna, published="true", owner_id=anna.id) == [post]
    assert await ids(bert) == [theirs["id"], post]
    assert await ids(bert, published="false") == []
    assert await ids(moderator, published="false", owner_id=anna.id) == [draft]
    assert await ids(anna, owner_id=2**63 - 1) == []


async def test_hidden_drafts_leave_no_gaps_in_pages(api: ApiClient) -> None:
    anna, bert = await api.person(), await api.person()
    for published in (True, False, False, True, False, True):
        await api.post(anna, published=published)

    assert [len(ids) for ids in await walk(api, bert, limit=2)] == [2, 1]
    assert [len(ids) for ids in await walk(api, anna, limit=2)] == [2, 2, 2]


@on_one_database
@pytest.mark.parametrize("limit", ["0", "101", "-1", "", "x", "1.5", "NaN", "1e1", HUGE])
async def test_a_limit_out_of_bounds_is_refused(api: ApiClient, limit: str) -> None:
    problem = problem_of(await page(api, await api.person(), limit=limit), 422, "validation_failed")

    assert [error["loc"] for error in problem["errors"]] == [["query", "limit"]]


@pytest.mark.parametrize("limit", [1, 100])
async def test_a_limit_may_be_from_1_to_100(api: ApiClient, limit: int) -> None:
    assert (await page(api, await api.person(), limit=limit)).status_code == 200


@on_one_database
@pytest.mark.parametrize(
    "query",
    [
        {"owner_id": "0"},
        {"owner_id": "-1"},
        {"owner_id": "me"},
        {"owner_id": str(2**63)},
        {"owner_id": str(10**30)},
        {"owner_id": HUGE},
        {"owner_id": "\0"},
        {"published": "2"},
        {"published": "\0"},
    ],
)
async def test_an_invalid_filter_is_refused(api: ApiClient, query: dict[str, str]) -> None:
    problem = problem_of(await page(api, await api.person(), **query), 422, "validation_failed")

    assert [error["loc"] for error in problem["errors"]] == [["query", *query]]


@on_one_database
@pytest.mark.parametrize("name", ["offset", "skip", "Limit", "page", "owner", "access_token"])
async def test_an_unknown_query_parameter_is_refused_and_not_named(
    api: ApiClient, name: str
) -> None:
    problem = problem_of(
        await page(api, await api.person(), **{name: "1"}), 422, "validation_failed"
    )

    assert problem["errors"] == [
        {"loc": ["query"], "msg": "Extra inputs are not permitted", "type": "extra_forbidden"}
    ]


async def cursor(api: ApiClient, anna: Person, **query: Any) -> str:
    for _ in range(2):
        await api.post(anna)
    return after_of(await page(api, anna, limit=1, **query))


@on_one_database
async def test_a_cursor_with_any_changed_character_is_refused(api: ApiClient) -> None:
    anna = await api.person()
    genuine = await cursor(api, anna)
    changed = [
        genuine[:at] + ("A" if letter != "A" else "B") + genuine[at + 1 :]
        for at, letter in enumerate(genuine)
    ]
    changed += ["", "A", "x", "é", "\0", "=", genuine + "A", genuine + "=", genuine[:-1]]
    changed += [genuine[4:], genuine * 2, " " + genuine, genuine.swapcase(), "A" * 200]

    for after in changed:
        problem = problem_of(await page(api, anna, limit=1, after=after), 400, "invalid_cursor")
        assert problem["detail"] == "The cursor is not one that this list gave out"
    assert (await page(api, anna, limit=1, after=genuine)).status_code == 200


@on_one_database
@pytest.mark.parametrize(
    ("made_for", "used_for"),
    [
        ({}, {"published": "true"}),
        ({}, {"owner_id": 1}),
        ({"published": "true"}, {}),
        ({"published": "true"}, {"published": "false"}),
        ({"owner_id": 1}, {"owner_id": 11}),
        ({"owner_id": 1}, {}),
        ({"owner_id": 1}, {"owner_id": 1, "published": "true"}),
    ],
)
async def test_a_cursor_of_another_filter_is_refused(
    api: ApiClient, made_for: dict[str, Any], used_for: dict[str, Any]
) -> None:
    anna = await api.person()
    assert anna.id == 1
    after = await cursor(api, anna, **made_for)

    answer = await page(api, anna, after=after, **used_for)

    problem_of(answer, 400, "invalid_cursor")
    assert (await page(api, anna, after=after, **made_for)).status_code == 200


@on_one_database
@pytest.mark.parametrize("made_for", [{}, {"sort": "oldest"}, {"sort": "top"}, {"q": "post"}])
@pytest.mark.parametrize(
    "used_for", [{"sort": "oldest"}, {"sort": "top"}, {"q": "post"}, {"q": "first"}]
)
async def test_a_cursor_of_another_order_or_search_is_refused(
    api: ApiClient, made_for: dict[str, str], used_for: dict[str, str]
) -> None:
    anna = await api.person()
    after = await cursor(api, anna, **made_for)

    answer = await page(api, anna, after=after, **used_for)

    if made_for == used_for:
        assert len(ids_of(answer)) == 1
    else:
        problem_of(answer, 400, "invalid_cursor")


async def test_posts_are_listed_in_the_requested_order(api: ApiClient) -> None:
    anna = await api.person()
    posts = [(await api.post(anna))["id"] for _ in range(5)]
    for at in (1, 3):
        await api.client.put(f"/posts/{posts[at]}/vote", headers=anna.headers)

    async def order(**query: Any) -> list[int]:
        pages = await walk(api, anna, limit=2, **query)
        return [posts.index(post_id) for ids in pages for post_id in ids]

    assert await order() == await order(sort="newest") == [4, 3, 2, 1, 0]
    assert await order(sort="oldest") == [0, 1, 2, 3, 4]
    assert await order(sort="top") == [3, 1, 4, 2, 0]


async def test_a_search_finds_posts_by_title_and_content(api: ApiClient) -> None:
    anna, bert = await api.person(), await api.person()
    fox = (await api.post(anna, title="The red fox"))["id"]
    den = (await api.post(anna, content="A fox's den, red and brown"))["id"]
    draft = (await api.post(anna, content="The red fox again", published=False))["id"]

    async def found(q: str, reader: Person = bert, **query: Any) -> list[int]:
        return [post for ids in await walk(api, reader, q=q, limit=1, **query) for post in ids]

    assert await found("red fox") == [den, fox]
    assert await found("red fox", sort="oldest") == [fox, den]
    assert await found('"red fox"') == [fox]
    assert await found('"red fox"', anna) == [draft, fox]
    assert await found("FO*", published="true", owner_id=anna.id) == [den, fox]
    assert await found("wolf") == []
    assert await found("") == await found("?!") == [den, fox]


@on_one_database
@pytest.mark.parametrize(
    "q", ['"', "*", "a AND", "'", "\\", "\0", "(", "🦊", "<script>", "a" * 9000]
)
async def test_every_search_query_is_valid(api: ApiClient, q: str) -> None:
    anna = await api.person()
    for _ in range(2):
        await api.post(anna)

    first = await page(api, anna, q=q, limit=1)

    assert first.status_code == 200
    if "next" in first.links:
        answer = await api.client.get(first.links["next"]["url"], headers=anna.headers)
        assert len(ids_of(answer)) == 1


@on_one_database
@pytest.mark.parametrize("sort", ["", "votes", "NEWEST", "-id", "\0"])
async def test_an_unknown_order_is_refused(api: ApiClient, sort: str) -> None:
    answer = await page(api, await api.person(), sort=sort)

    problem = problem_of(answer, 422, "validation_failed")
    assert [error["loc"] for error in problem["errors"]] == [["query", "sort"]]


async def get_with_scope(
    api: ApiClient, headers: dict[str, str], scope: dict[str, Any]
) -> httpx.Response:
    """The answer to a request that a server understood as `scope`."""

    async def server(inner: Any, receive: Any, send: Any) -> None:
        await api.app({**inner, "server": ("127.0.0.1", 8000), **scope}, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=server), base_url=URL) as client:
        return await client.get("/posts?limit=1", headers=headers)


@on_one_database
@pytest.mark.parametrize(
    ("scope", "headers", "start"),
    [
        ({}, {}, "/posts?limit=1&after="),
        ({"scheme": "http"}, {"X-Forwarded-Proto": "https"}, "/posts?limit=1&after="),
        ({}, {"Host": "elsewhere.example"}, "/posts?limit=1&after="),
        ({"root_path": "/api/"}, {}, "/api/posts?limit=1&after="),
        ({"root_path": "/api", "path": "/api/posts"}, {}, "/api/posts?"),
    ],
)
async def test_the_next_link_names_no_scheme_or_host(
    api: ApiClient, scope: dict[str, str], headers: dict[str, str], start: str
) -> None:
    anna = await api.person()
    await cursor(api, anna)

    answer = await get_with_scope(api, anna.headers | headers, scope)

    assert answer.links["next"]["url"].startswith(start)


@on_one_database
async def test_the_next_link_escapes_the_query_and_has_one_cursor(api: ApiClient) -> None:
    anna = await api.person()
    for _ in range(3):
        await api.post(anna, content='fox > "den" & 100% é')
    raw = b'q=fox+>"den"%26%20\xc3\xa9&limit=1'
    first = await get_with_scope(api, anna.headers, {"query_string": raw})

    url = first.links["next"]["url"]
    second = await api.client.get(url, headers=anna.headers)

    assert not set(url) & set('<>" ')
    assert url.isascii()
    assert dict(httpx.URL(url).params) | {"after": ""} == {
        "q": 'fox >"den"& é',
        "limit": "1",
        "after": "",
    }
    assert second.links["next"]["url"].count("after=") == 1
    assert len(ids_of(second)) == 1


@on_one_database
async def test_another_spelling_of_a_filter_is_the_same_filter(api: ApiClient) -> None:
    anna = await api.person()
    after = await cursor(api, anna, published="true")

    assert (await page(api, anna, after=after, published="1")).status_code == 200


@on_one_database
async def test_an_overlong_cursor_is_refused(api: ApiClient) -> None:
    problem_of(await page(api, await api.person(), after="A" * 201), 422, "validation_failed")
