"""Refresh, lists and revocation of sessions."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.api.client import ApiClient, Person, on_one_database, problem_of
from tests.api.expected import Expected, allowed
from tests.api.provocations import on_nobody
from tests.api.test_auth import assert_bad_token, told

ROUTES = [
    Expected(operation="list_sessions", route="GET /sessions", statuses=allowed(200)),
    Expected(operation="end_sessions", route="DELETE /sessions", statuses=allowed(204)),
    Expected(
        operation="end_session",
        route="DELETE /sessions/{session_id}",
        statuses=(401, 404, 204, 404, 404, 401),
        refusals={404: on_nobody},
    ),
]


async def session_of(api: ApiClient, owner: Person) -> object:
    answer = await api.client.get("/sessions", headers=owner.headers)
    return answer.json()[0]["id"]


IDS = {"session_id": session_of}

REFRESH_MEMBERS = {
    "access_token",
    "token_type",
    "expires_in",
    "refresh_token",
    "refresh_expires_in",
}


async def log_in(api: ApiClient, person: Person) -> dict[str, Any]:
    login: dict[str, Any] = (await api.log_in(person.email)).json()
    return login


async def refresh(api: ApiClient, token: str, **form: str) -> httpx.Response:
    return await api.client.post("/refresh", data={"refresh_token": token} | form)


async def works(api: ApiClient, access_token: str) -> bool:
    answer = await api.client.get("/users/me", headers=bearer(access_token))
    if answer.status_code != 200:
        assert_bad_token(answer)
    return answer.status_code == 200


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_a_refresh_has_the_response_of_a_login(api: ApiClient) -> None:
    anna = await api.person()
    first = await log_in(api, anna)

    answer = await refresh(api, first["refresh_token"], grant_type="refresh_token")

    assert answer.status_code == 200
    second = answer.json()
    assert set(second) == REFRESH_MEMBERS
    assert second["token_type"] == "bearer"
    assert (second["expires_in"], second["refresh_expires_in"]) == (3600, 30 * 86_400)
    assert second["refresh_token"] != first["refresh_token"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert await works(api, first["access_token"])
    assert await works(api, second["access_token"])
    assert (await refresh(api, second["refresh_token"])).status_code == 200


async def test_reuse_of_a_rotated_token_revokes_the_session_permanently(api: ApiClient) -> None:
    anna = await api.person()
    first = await log_in(api, anna)
    second = (await refresh(api, first["refresh_token"])).json()
    api.clock.ahead += timedelta(seconds=10)

    for _ in range(2):
        assert_bad_token(await refresh(api, first["refresh_token"]))

    assert not await works(api, second["access_token"])
    assert_bad_token(await refresh(api, second["refresh_token"]))
    assert await works(api, anna.token)


async def test_a_lost_response_to_a_refresh_can_be_asked_for_again(api: ApiClient) -> None:
    anna = await api.person()
    first = await log_in(api, anna)
    lost = (await refresh(api, first["refresh_token"])).json()
    api.clock.ahead += timedelta(seconds=5)

    again = await refresh(api, first["refresh_token"])

    assert again.status_code == 200
    assert again.headers["Cache-Control"] == "no-store"
    assert again.json()["refresh_token"] == lost["refresh_token"]
    assert await works(api, again.json()["access_token"])
    assert (await refresh(api, lost["refresh_token"])).status_code == 200


async def test_concurrent_refreshes_get_one_successor(api: ApiClient) -> None:
    """Ten rounds of four tabs, each round with the token of the one before."""
    anna = await api.person()
    token = (await log_in(api, anna))["refresh_token"]

    for _ in range(10):
        answers = await asyncio.gather(*(refresh(api, token) for _ in range(4)))

        assert [answer.status_code for answer in answers] == [200] * 4
        (token,) = {answer.json()["refresh_token"] for answer in answers}


@on_one_database
async def test_all_bad_refresh_tokens_have_the_same_response(
    api: ApiClient,
) -> None:
    anna = await api.person()
    login, other = await log_in(api, anna), await log_in(api, anna)
    await api.client.post("/logout", headers=bearer(other["access_token"]))
    spent = (await log_in(api, anna))["refresh_token"]
    await refresh(api, (await refresh(api, spent)).json()["refresh_token"])

    tokens = ["x", "é" * 1000, login["access_token"], other["refresh_token"], spent]
    answers = [await refresh(api, token) for token in tokens]
    answers.append(await api.client.post("/refresh", content=b"refresh_token=%ff%00", headers=FORM))

    assert len({told(answer, 401, "invalid_token") for answer in answers}) == 1
    assert_bad_token(answers[0])
    assert (await refresh(api, login["refresh_token"])).status_code == 200


FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@on_one_database
async def test_a_refresh_without_a_token_or_of_another_grant_is_422(api: ApiClient) -> None:
    problem = problem_of(await api.client.post("/refresh", data={}), 422, "validation_failed")
    assert [error["loc"] for error in problem["errors"]] == [["body", "refresh_token"]]
    problem_of(await refresh(api, "x", grant_type="password"), 422, "validation_failed")
    answer = await api.client.post("/refresh", json={"refresh_token": "x"})
    problem_of(answer, 415, "unsupported_media_type")


@on_one_database
async def test_a_session_expires_without_a_refresh(api: ApiClient) -> None:
    anna = await api.person()
    login = await log_in(api, anna)

    api.clock.ahead = timedelta(days=30)

    assert_bad_token(await refresh(api, login["refresh_token"]))


async def test_a_logout_takes_effect_on_the_next_request(api: ApiClient) -> None:
    anna = await api.person()
    login = await log_in(api, anna)

    answer = await api.client.post("/logout", headers=bearer(login["access_token"]))

    assert (answer.status_code, answer.content) == (204, b"")
    assert not await works(api, login["access_token"])
    assert_bad_token(await refresh(api, login["refresh_token"]))
    assert_bad_token(await api.client.post("/logout", headers=bearer(login["access_token"])))
    assert await works(api, anna.token)


async def test_own_sessions_are_listed(api: ApiClient) -> None:
    anna, bert = await api.person(), await api.person()
    before = api.clock()
    api.client.headers["User-Agent"] = "Lynx/2.9"
    login = await log_in(api, anna)

    answer = await api.client.get("/sessions", headers=bearer(login["access_token"]))

    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "private, no-cache"
    newest, oldest = answer.json()
    assert set(newest) == {
        "id",
        "created_at",
        "last_used_at",
        "expires_at",
        "user_agent",
        "ip",
        "methods",
        "proved_at",
        "current",
    }
    assert (newest["current"], oldest["current"]) == (True, False)
    assert (newest["user_agent"], newest["ip"]) == ("Lynx/2.9", "127.0.0.1")
    created_at, last_used_at, expires_at = (
        datetime.fromisoformat(newest[name])
        for name in ("created_at", "last_used_at", "expires_at")
    )
    assert before <= created_at == last_used_at <= api.clock()
    assert expires_at - created_at == timedelta(days=30)
    (of_bert,) = (await api.client.get("/sessions", headers=bert.headers)).json()
    assert of_bert["id"] not in (newest["id"], oldest["id"])


async def test_a_refresh_keeps_the_session_and_requests_do_not_touch_it(
    api: ApiClient,
) -> None:
    anna = await api.person()
    login = await log_in(api, anna)
    headers = bearer(login["access_token"])
    (first, *_) = (await api.client.get("/sessions", headers=headers)).json()
    (again, *_) = (await api.client.get("/sessions", headers=headers)).json()
    assert again == first

    api.clock.ahead = timedelta(minutes=5)
    refreshed = (await refresh(api, login["refresh_token"])).json()

    headers = bearer(refreshed["access_token"])
    (second, *_) = (await api.client.get("/sessions", headers=headers)).json()
    assert (second["id"], second["created_at"]) == (first["id"], first["created_at"])
    assert second["last_used_at"] > first["last_used_at"]
    assert second["expires_at"] > first["expires_at"]


async def test_a_session_is_revoked_by_its_id(api: ApiClient) -> None:
    anna = await api.person()
    login = await log_in(api, anna)
    sessions = (await api.client.get("/sessions", headers=anna.headers)).json()
    (other,) = [session for session in sessions if not session["current"]]

    answer = await api.client.delete(f"/sessions/{other['id']}", headers=anna.headers)

    assert (answer.status_code, answer.content) == (204, b"")
    assert not await works(api, login["access_token"])
    assert_bad_token(await refresh(api, login["refresh_token"]))
    (left,) = (await api.client.get("/sessions", headers=anna.headers)).json()
    assert left["current"]
    again = await api.client.delete(f"/sessions/{other['id']}", headers=anna.headers)
    problem_of(again, 404, "session_not_found")


async def test_the_session_of_another_user_is_404(api: ApiClient) -> None:
    anna, bert = await api.person(), await api.person()
    (of_bert,) = (await api.client.get("/sessions", headers=bert.headers)).json()

    for number in (of_bert["id"], 2**63 - 1):
        answer = await api.client.delete(f"/sessions/{number}", headers=anna.headers)
        problem = problem_of(answer, 404, "session_not_found")
        assert problem["detail"] == f"Session with id: {number} was not found"
    assert (await api.me(bert)).status_code == 200


@on_one_database
@pytest.mark.parametrize("number", ["0", "-1", "x", str(2**63)])
async def test_an_invalid_session_id_is_422(api: ApiClient, number: str) -> None:
    anna = await api.person()

    answer = await api.client.delete(f"/sessions/{number}", headers=anna.headers)

    problem_of(answer, 422, "validation_failed")


async def test_all_sessions_including_the_current_one_are_revoked(api: ApiClient) -> None:
    anna, bert = await api.person(), await api.person()
    login = await log_in(api, anna)

    answer = await api.client.delete("/sessions", headers=anna.headers)

    assert (answer.status_code, answer.content) == (204, b"")
    assert not await works(api, anna.token)
    assert not await works(api, login["access_token"])
    assert_bad_token(await refresh(api, login["refresh_token"]))
    assert (await api.me(bert)).status_code == 200
    assert (await api.log_in(anna.email)).status_code == 200
