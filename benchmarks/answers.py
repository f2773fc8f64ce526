"""Nothing is timed before it has given the right answers."""

import httpx

from contenders.target import CONTENT, Target, email_of, posts_of

USER_FIELDS = {"id", "email", "name", "is_active"}
POST_FIELDS = {"id", "title", "content", "published", "created_at", "owner_id", "owner"}


class WrongAnswer(Exception):
    """Says which contender gave which answer to what."""


def check_answers(target: Target) -> None:
    """Raise `WrongAnswer` unless `target` serves all routes and refuses what it must."""
    with httpx.Client(base_url=target.server.url, timeout=10) as client:
        _check_routes(target, client, user=1, post=1)
        if not target.refused:
            return
        _check_routes(target, client, user=len(target.tokens), post=target.posts // 2)
        bad: dict[str, dict[str, str]] = {"no": {}}
        bad |= {f"a {kind}": _bearer(token) for kind, token in target.refused.items()}
        for kind, headers in bad.items():
            for path in ("/users/me", "/posts/1", "/posts?limit=10"):
                _expect(target, client.get(path, headers=headers), 401, f"with {kind} token")


def _check_routes(target: Target, client: httpx.Client, *, user: int, post: int) -> None:
    client.headers.update(_bearer(target.tokens[user - 1]))
    me = _expect(target, client.get("/users/me"), 200).json()
    _same(target, "/users/me", me.keys() >= USER_FIELDS and me["email"] == email_of(user))
    one = _expect(target, client.get(f"/posts/{post}"), 200).json()
    _same(target, "/posts/{id}", one.keys() >= POST_FIELDS and one["id"] == post)
    page = _expect(target, client.get("/posts?limit=10"), 200).json()
    _same(target, "/posts?limit=10", len(page) == 10 and page[0].keys() >= POST_FIELDS)
    draft = {"title": "A title", "content": CONTENT}
    made = _expect(target, client.post("/posts", json=draft), 201).json()
    _same(target, "POST /posts", made.keys() >= POST_FIELDS)
    changed = client.put(f"/posts/{posts_of(user)[0]}", json={**draft, "title": "Replaced"})
    replaced = _expect(target, changed, 200).json()
    _same(target, "PUT /posts/{id}", replaced.keys() >= POST_FIELDS)
    if target.refused:
        _same(target, "PUT /posts/{id}", replaced["title"] == "Replaced")
        again = client.get(f"/posts/{posts_of(user)[0]}").json()
        _same(target, "PUT /posts/{id}", again["title"] == "Replaced")
        others = client.put(f"/posts/{posts_of(user + 1)[0]}", json=draft)
        _expect(target, others, 403, "of somebody else")
        _same(target, "POST /posts", made["title"] == "A title" and made["owner_id"] == me["id"])
        newest = client.get("/posts?limit=10").json()[0]
        _same(target, "/posts?limit=10", newest["id"] == made["id"])
        _same(target, "/posts?limit=10", newest["owner"]["id"] == me["id"])
    client.headers.pop("Authorization")


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _expect(target: Target, answer: httpx.Response, status: int, how: str = "") -> httpx.Response:
    if answer.status_code != status:
        request = f"{answer.request.method} {answer.request.url.path} {how}".strip()
        raise WrongAnswer(
            f"{target.name}: {request}: {answer.status_code}, not {status}: {answer.text[:300]}"
        )
    return answer


def _same(target: Target, path: str, right: bool) -> None:
    if not right:
        raise WrongAnswer(f"{target.name}: {path} does not hold what was asked for")
