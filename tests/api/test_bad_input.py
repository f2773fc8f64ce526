"""Hostile input is refused with a 4xx and never repeated."""

from typing import Any

import httpx
import pytest

from api.middleware import BODY_MAX
from domain.users import Role
from tests.api.client import PASSWORD, ApiClient, on_one_database, problem_of

JSON = {"Content-Type": "application/json"}
URLENCODED = {"Content-Type": "application/x-www-form-urlencoded"}
MULTIPART = {"Content-Type": "multipart/form-data; boundary=b"}

DEEP = 10_000
HOSTILE = {
    "NaN": b"NaN",
    "Infinity": b"Infinity",
    "-Infinity": b"-Infinity",
    "1e400": b"1e400",
    "10**30": b"1" + b"0" * 30,
    "10**5000": b"1" + b"0" * 5000,
    "-0": b"-0",
    "a fraction of many digits": b"0." + b"1" * 5000,
    "a lone surrogate": rb'"lone \ud800 surrogate"',
    "another lone surrogate": rb'"\udfff"',
    "surrogates in the wrong order": rb'"\udc00\ud800 and more"',
    "a raw surrogate": b'"\xed\xa0\x80 and more of it"',
    "overlong UTF-8": b'"\xc0\x80 and more of it"',
    "Latin-1": '"caf\u00e9 and more of it"'.encode("latin-1"),
    "a raw control character": b'"line\nbreak and more of it"',
    "a broken escape": rb'"\x41 and more of it"',
    "a list 10,000 deep": b"[" * DEEP + b"]" * DEEP,
    "an object 10,000 deep": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "an unfinished list 10,000 deep": b"[" * DEEP,
    "an unfinished string": b'"and more of it',
    "nothing": b"",
    "a comment": b"/* and more of it */ 1",
    "null": b"null",
    "a list": b'["and more of it"]',
    "an object": b'{"a": "and more of it"}',
    "a number": b"123456789012",
    "true": b"true",
}
# (method, path, a body with one hole, in which any of the above is wrong)
HOLES = {
    "a title": ("POST", "/posts", b'{"title": %s, "content": "x"}'),
    "a content": ("POST", "/posts", b'{"title": "x", "content": %s}'),
    "a replacement's title": ("PUT", "/posts/{post}", b'{"title": %s, "content": "x"}'),
    "an address": ("POST", "/users", b'{"email": %s, "password": "correct horse battery"}'),
    "a password": ("POST", "/users", b'{"email": "new@example.com", "password": %s}'),
    "an unknown member": ("POST", "/posts", b'{"title": "x", "content": "x", "role": %s}'),
    "a whole body": ("POST", "/posts", b"%s"),
    "a whole registration": ("POST", "/users", b"%s"),
}


@pytest.mark.parametrize(("method", "path", "body"), HOLES.values(), ids=HOLES)
async def test_a_hostile_value_is_a_4xx(
    api: ApiClient, method: str, path: str, body: bytes
) -> None:
    anna = await api.person()
    post = await api.post(anna)
    path = path.format(post=post["id"])

    for name, value in HOSTILE.items():
        content = body.replace(b"%s", value)
        answer = await api.client.request(
            method, path, content=content, headers=anna.headers | JSON
        )
        expected = 413 if path == "/users" and len(content) > BODY_MAX else 422
        assert answer.status_code == expected, f"{name}: {answer.status_code} {answer.text}"
        problem_of(answer, answer.status_code, answer.json()["code"])
    listed = await api.client.get("/posts", headers=anna.headers)
    assert listed.json() == [post]
    assert (await api.log_in("new@example.com", "123456789012")).status_code == 401


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/users", b'{"email": "a@example.com", "password": "correct horse battery", "name": %s}'),
        ("/posts", b'{"title": "x", "content": "x", "published": %s}'),
    ],
)
async def test_a_hostile_name_or_flag_is_a_4xx(api: ApiClient, path: str, body: bytes) -> None:
    anna = await api.person()

    for name in HOSTILE.keys() - {"null", "true"}:
        content = body.replace(b"%s", HOSTILE[name])
        answer = await api.client.post(path, content=content, headers=anna.headers | JSON)
        expected = 413 if path == "/users" and len(content) > BODY_MAX else 422
        assert answer.status_code == expected, f"{name}: {answer.status_code} {answer.text}"


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("/posts", {"title": "a\0b", "content": "x"}, "validation_failed"),
        ("/posts", {"title": "\0", "content": "x"}, "validation_failed"),
        ("/posts", {"title": "x", "content": "a\0"}, "validation_failed"),
        ("/users", {"email": "a\0@example.com", "password": PASSWORD}, "validation_failed"),
        (
            "/users",
            {"email": "a@example.com", "password": PASSWORD, "name": "a\0b"},
            "bad_name",
        ),
    ],
)
async def test_a_nul_is_422_where_no_column_accepts_it(
    api: ApiClient, path: str, body: dict[str, str], code: str
) -> None:
    anna = await api.person()

    problem_of(await api.client.post(path, json=body, headers=anna.headers), 422, code)


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
@pytest.mark.parametrize("member", ["title", "content"])
async def test_a_nul_in_a_change_is_refused_before_a_stale_tag(
    api: ApiClient, member: str, method: str
) -> None:
    anna = await api.person()
    post = await api.post(anna)

    answer = await api.client.request(
        method,
        f"/posts/{post['id']}",
        json={"title": "x", "content": "x"} | {member: "a\0b"},
        headers=anna.headers | {"If-Match": '"99-0"'},
    )

    problem = problem_of(answer, 422, "validation_failed")
    assert [error["loc"] for error in problem["errors"]] == [["body", member]]


@on_one_database
@pytest.mark.parametrize(("count", "listed"), [(100, 100), (101, 1), (50_000, 1)])
async def test_a_422_lists_at_most_a_hundred_errors(
    api: ApiClient, count: int, listed: int
) -> None:
    anna = await api.person()
    unknown = {f"member{number}": 1 for number in range(count)}

    answer = await api.client.post(
        "/posts", json={"title": "x", "content": "x"} | unknown, headers=anna.headers
    )

    assert len(problem_of(answer, 422, "validation_failed")["errors"]) == listed
    assert len(answer.content) < 20_000


LONG = "\u0301\u0316" * 300
"""Longer than any password, and within the limit on bodies."""


@on_one_database
async def test_an_overlong_password_is_refused_in_every_form_and_body(
    api: ApiClient,
) -> None:
    anna = await api.person()
    right, wrong = {"current_password": PASSWORD}, {"current_password": LONG}
    email = {"email": "new@example.com"}

    form = await api.log_in(anna.email, LONG)
    problem_of(form, 422, "validation_failed")
    assert form.json()["errors"][0]["loc"] == ["body", "password"]
    for method, path, body, code in (
        ("PUT", "/users/me/password", wrong | {"new_password": PASSWORD}, "validation_failed"),
        ("PATCH", "/users/me", wrong | email, "validation_failed"),
        ("POST", "/users/me/deletion", wrong, "validation_failed"),
        ("POST", "/users", email | {"password": LONG}, "weak_password"),
        ("PUT", "/users/me/password", right | {"new_password": LONG}, "weak_password"),
    ):
        answer = await api.client.request(method, path, json=body, headers=anna.headers)
        problem_of(answer, 422, code)
    assert (await api.log_in(anna.email)).status_code == 200


NO_IDS = ["0", "-1", "1.5", "x", "1e3", "%00", "1%00", "%ff", "%ed%a0%80", "NaN", "true", "null"]
NO_IDS += [str(2**63), str(10**30), "1" + "0" * 5000, "-" + "9" * 30, "0x10", "%20", "1;2", "é"]
# Each of them would be 1, in another spelling.
NO_IDS += ["1.0", "+1", "01", "1%20", "%201", "1_0", "1e0", "%EF%BC%91", "1%0a"]


@on_one_database
@pytest.mark.parametrize("id_", NO_IDS)
async def test_an_invalid_id_is_422_with_its_location(api: ApiClient, id_: str) -> None:
    admin = await api.person(role=Role.ADMIN)
    body = {"title": "x", "content": "x"}

    for method, path in (("GET", "users"), ("GET", "posts"), ("PUT", "posts"), ("DELETE", "posts")):
        answer = await api.client.request(
            method,
            f"/{path}/{id_}",
            json=body if method == "PUT" else None,
            headers=admin.headers,
        )
        problem = problem_of(answer, 422, "validation_failed")
        assert [error["loc"] for error in problem["errors"]] == [["path", f"{path[:-1]}_id"]]


@on_one_database
@pytest.mark.parametrize("id_", ["01", "+1", "1.0", "%201"])
async def test_an_id_in_a_query_has_one_spelling(api: ApiClient, id_: str) -> None:
    admin = await api.person(role=Role.ADMIN)

    for path in (f"/posts?owner_id={id_}", f"/audit?actor_id={id_.replace('+', '%2B')}"):
        answer = await api.client.get(path, headers=admin.headers)
        problem_of(answer, 422, "validation_failed")


async def test_the_largest_id_is_valid(api: ApiClient) -> None:
    anna = await api.person()

    for path, code in (("users", "user_not_found"), ("posts", "post_not_found")):
        answer = await api.client.get(f"/{path}/{2**63 - 1}", headers=anna.headers)
        problem_of(answer, 404, code)


FORMS: list[tuple[dict[str, str], bytes]] = [
    (URLENCODED, b"username=%00&password=%00"),
    (URLENCODED, b"username=%ff%fe&password=%zz"),
    (URLENCODED, b"username=%ed%a0%80&password=%ed%a0%80"),
    (URLENCODED, b"username=\xff\xfe&password=\x00"),
    (URLENCODED, b"username=a&username=b&password=a&password=b"),
    (URLENCODED, b"username=" + b"a" * 8000 + b"&password=" + b"b" * 8000),
    (URLENCODED, b"a=1&" * 3000 + b"username=a&password=b"),
    (URLENCODED, b"&=&==&;"),
    (URLENCODED, b""),
    (MULTIPART, b""),
    (MULTIPART, b"--c\r\n\r\n"),
    (MULTIPART, b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n"),
    (MULTIPART, b'--b\r\nContent-Disposition: form-data; name="username"\r\n\r\n\xff\xfe'),
    (
        {"Content-Type": "multipart/form-data; boundary=b; charset=nonsense"},
        b'--b\r\nContent-Disposition: form-data; name="username"\r\n\r\n\xff\r\n'
        b'--b\r\nContent-Disposition: form-data; name="password"\r\n\r\n\xff\r\n--b--\r\n',
    ),
    ({"Content-Type": "multipart/form-data"}, b"username=a&password=b"),
]


async def test_a_hostile_form_is_a_4xx(api: ApiClient) -> None:
    for headers, body in FORMS:
        answer = await api.client.post("/login", content=body, headers=headers)
        assert answer.status_code in (401, 422), f"{body[:60]!r}: {answer.text}"
        problem_of(answer, answer.status_code, answer.json()["code"])


@on_one_database
async def test_a_file_in_a_form_is_refused(api: ApiClient) -> None:
    files: dict[str, tuple[str | None, str]] = {
        "username": ("a.txt", "anna@example.com"),
        "password": (None, PASSWORD),
    }

    problem_of(await api.client.post("/login", files=files), 422, "validation_failed")


# What a client without a token sends is not looked at: it hears that it has none.
@on_one_database
@pytest.mark.parametrize(
    ("method", "path", "headers", "body"),
    [
        ("POST", "/posts", JSON, b"{"),
        ("POST", "/posts", JSON, b"\xff"),
        ("POST", "/posts", JSON, b"[" * DEEP),
        ("POST", "/posts", JSON, b"1" + b"0" * 5000),
        ("POST", "/posts", JSON, b""),
        ("POST", "/posts", JSON, b'{"title": 7}'),
        ("POST", "/posts", {"Content-Type": "text/plain"}, b"x"),
        ("PUT", "/posts/1", JSON, b"{"),
        ("PUT", "/posts/x", JSON, b"{"),
        ("PUT", "/posts/x", JSON, b"[" * DEEP),
        ("GET", "/posts/x", {}, b""),
        ("GET", "/posts?limit=0&x=1", {}, b""),
        ("GET", "/posts?after=x", {}, b""),
        ("GET", "/users/x", {}, b""),
        ("DELETE", "/posts/0", {}, b""),
    ],
)
async def test_an_unauthenticated_request_is_401_however_invalid_it_is(
    api: ApiClient, method: str, path: str, headers: dict[str, str], body: bytes
) -> None:
    nobody = await api.client.request(method, path, headers=headers, content=body)
    problem_of(nobody, 401, "not_authenticated")
    assert nobody.headers["WWW-Authenticate"].startswith("Bearer resource_metadata=")

    forged = await api.client.request(
        method, path, headers=headers | {"Authorization": "Bearer x"}, content=body
    )
    problem_of(forged, 401, "invalid_token")


MARK = "MARK7f3a"


def marked(number: int, post: int) -> list[dict[str, Any]]:
    """Requests that are refused, with a mark in every place where a client can put one."""
    good = {"title": "x", "content": "x"}
    registration = {"email": f"new{number}@example.com", "password": PASSWORD}
    file = {"username": (f"{MARK}.txt", MARK.encode(), "text/plain")}

    def of(method: str, url: str, **more: Any) -> dict[str, Any]:
        return {"method": method, "url": url, **more}

    def raw(content: bytes, media_type: str = "application/json") -> dict[str, Any]:
        return of("POST", "/posts", content=content, headers={"Content-Type": media_type})

    return [
        of("POST", "/posts", json={"title": [MARK], "content": {MARK: MARK}}),
        of("POST", "/posts", json={"title": MARK, "content": "x", "published": MARK}),
        of("POST", "/posts", json=good | {MARK: 1}),
        of("POST", "/posts", json=good | {MARK: {MARK: [MARK]}}),
        of("POST", "/posts", json=[MARK]),
        of("POST", "/posts", json=MARK),
        of("POST", "/posts", json={"title": MARK + "\0", "content": MARK}),
        of("POST", "/posts", json={"title": MARK * 100, "content": MARK}),
        of("PUT", f"/posts/{post}", json=good | {MARK: 1}),
        of("PUT", f"/posts/{MARK}", json={"title": MARK}),
        raw(b'{"title": "' + MARK.encode()),
        raw(MARK.encode()),
        raw(b'{"' + MARK.encode() + b'": NaN}'),
        raw(b'{"title": "\\ud800' + MARK.encode() + b'", "' + MARK.encode() + b'\\ud800": 1}'),
        raw(b'"\xff' + MARK.encode() + b'"'),
        raw(MARK.encode(), f"application/{MARK}"),
        raw(MARK.encode(), f"multipart/form-data; boundary={MARK}"),
        raw(b'{"title": ' + b"1" * 5000 + b', "x": "' + MARK.encode() + b'"}'),
        of("POST", "/users", json=registration | {"email": MARK}),
        of("POST", "/users", json=registration | {"email": f"{MARK}@{MARK}..com"}),
        of("POST", "/users", json=registration | {"email": f"{MARK}@{MARK}.invalid"}),
        of("POST", "/users", json=registration | {"password": MARK}),
        of("POST", "/users", json=registration | {"password": MARK * 50}),
        of("POST", "/users", json=registration | {"password": [MARK]}),
        of(
            "POST",
            "/users",
            json={"email": f"{MARK}abcdefgh@example.com", "password": f"{MARK}abcdefgh"},
        ),
        of("POST", "/users", json=registration | {"name": MARK * 50}),
        of("POST", "/users", json=registration | {"name": MARK + "\0"}),
        of("POST", "/users", json=registration | {MARK: MARK}),
        of("POST", "/login", data={"username": MARK, "password": MARK}),
        of("POST", "/login", data={"username": MARK * 100, "password": MARK}),
        of("POST", "/login", data={"username": MARK, "password": MARK, "grant_type": MARK}),
        of("POST", "/login", data={MARK: MARK}),
        of("POST", "/login", files=file, data={"password": MARK}),
        of("POST", "/login", json={"username": MARK}),
        of("POST", "/login", content=MARK, headers=MULTIPART),
        of("GET", f"/posts/{MARK}"),
        of("GET", f"/users/{MARK}"),
        of("DELETE", f"/posts/{MARK}"),
        of("GET", f"/{MARK}"),
        of("GET", f"/posts/{post}/{MARK}"),
        of("GET", f"/posts?{MARK}=1"),
        of("GET", f"/posts?limit={MARK}"),
        of("GET", f"/posts?owner_id={MARK}&published={MARK}&{MARK}={MARK}"),
        of("GET", f"/posts?after={MARK}"),
        of("GET", f"/posts?after={MARK * 30}"),
        of(MARK, "/posts"),
        of("PATCH", f"/posts/{MARK}"),
        of("GET", "/users/me", headers={"Authorization": f"Bearer {MARK}"}),
        of("GET", "/users/me", headers={"Authorization": f"{MARK} {MARK}"}),
        of("GET", "/x", headers={"X-Request-ID": f"{MARK}/", "X-Mark": MARK, "Cookie": MARK}),
        of("GET", "/x", headers={"Host": f"{MARK}.example.com"}),
        of(
            "OPTIONS",
            "/posts",
            headers={
                "Origin": f"https://{MARK}.example.com",
                "Access-Control-Request-Method": MARK,
                "Access-Control-Request-Headers": f"x-{MARK}",
            },
        ),
    ]


async def test_no_error_repeats_the_input(api: ApiClient) -> None:
    anna = await api.person()
    post = await api.post(anna)

    for number, request in enumerate(marked(1, post["id"])):
        headers = anna.headers | request.pop("headers", {})
        answer: httpx.Response = await api.client.request(**request, headers=headers)
        case = f"case {number}, {request}: {answer.status_code} {answer.text}"
        assert 400 <= answer.status_code < 500, case
        assert answer.headers["Content-Type"] == "application/problem+json", case
        told = answer.text + str(answer.headers.raw)
        assert MARK.casefold() not in told.casefold(), case


@on_one_database
async def test_a_422_names_each_location_once(api: ApiClient) -> None:
    anna = await api.person()

    answer = await api.client.get(
        "/posts?limit=0&owner_id=x&published=x&y=1&z=2", headers=anna.headers
    )

    errors = problem_of(answer, 422, "validation_failed")["errors"]
    assert sorted(tuple(error["loc"]) for error in errors) == [
        ("query",),
        ("query",),
        ("query", "limit"),
        ("query", "owner_id"),
        ("query", "published"),
    ]
