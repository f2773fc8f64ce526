"""The export of all that is stored of a user."""

from tests.api.client import PASSWORD, ApiClient
from tests.api.expected import Expected, allowed
from tests.jobs import do_next

ROUTES = [
    Expected(
        operation="export_current_user",
        route="GET /users/me/export",
        statuses=allowed(200),
    ),
]


async def test_the_export_has_the_account_and_all_that_is_its_user_s(api: ApiClient) -> None:
    anna, bert = await api.person(), await api.person()
    posts = [await api.post(anna, title=f"Post {n} 🦉", published=n > 20) for n in range(22)]
    theirs = await api.post(bert)
    await api.client.put(f"/posts/{theirs['id']}/vote", headers=anna.headers)

    answer = await api.client.get("/users/me/export", headers=anna.headers)

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Content-Disposition"].startswith("attachment; ")
    exported = answer.json()
    assert exported["user"] == (await api.me(anna)).json()
    assert [post["id"] for post in exported["posts"]] == [post["id"] for post in posts]
    for post, known in zip(exported["posts"], posts, strict=True):
        assert post == {name: known[name] for name in post}
    assert exported["votes"] == [{"post_id": theirs["id"]}]
    (session,) = exported["sessions"]
    assert session["user_agent"].startswith("python-httpx")
    assert "logged_in" in [event["name"] for event in exported["events"]]
    assert [event["name"] for event in exported["events_by_others"]] == ["user_registered"]


async def test_the_export_has_no_secret(api: ApiClient) -> None:
    anna = await api.person()
    await api.client.post("/users/me/verification", headers=anna.headers)
    await do_next(api.app.state.services)

    exported = (await api.client.get("/users/me/export", headers=anna.headers)).text

    assert "one_time_codes" in exported
    for secret in (PASSWORD, anna.token, anna.refresh_token, "$2b$", "hash"):
        assert secret not in exported
