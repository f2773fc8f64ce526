"""What a client does all day, a bit of everything."""

import time

import httpx

PASSWORD = "correct horse battery"
NEW_PASSWORD = "battery horse correct"


def everyday(client: httpx.Client, email: str) -> None:
    """Register `email`, use most of the API, and delete the account again."""
    headers: dict[str, str] = {}

    def ask(method: str, path: str, status: int, **options: object) -> httpx.Response:
        while True:
            answer = client.request(method, path, headers=headers, **options)  # type: ignore[arg-type]
            if '"hashing_busy"' not in answer.text:
                break
            time.sleep(0.1)  # it asked for that
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer

    def log_in(password: str) -> dict[str, str]:
        form = {"username": email, "password": password}
        tokens: dict[str, str] = ask("POST", "/login", 200, data=form).json()
        return tokens

    ask("POST", "/users", 201, json={"email": email, "password": PASSWORD})
    ask("POST", "/users", 409, json={"email": email, "password": PASSWORD})
    tokens = log_in(PASSWORD)
    form = {"refresh_token": tokens["refresh_token"]}
    tokens = ask("POST", "/refresh", 200, data=form).json()
    headers["Authorization"] = f"Bearer {tokens['access_token']}"
    me = ask("PATCH", "/users/me", 200, json={"name": "Anna"}).json()
    assert ask("GET", "/users/me", 200).json() == me

    # begin: posts only
    word = email.partition("@")[0]
    draft = {"title": f"About {word}", "content": "A post."}
    headers["Idempotency-Key"] = email
    post = ask("POST", "/posts", 201, json=draft).json()
    assert ask("POST", "/posts", 201, json=draft).json() == post
    del headers["Idempotency-Key"]
    path = f"/posts/{post['id']}"
    ask("PUT", f"{path}/vote", 204)
    seen = ask("GET", path, 200)
    assert (seen.json()["votes"], seen.json()["owner"]["name"]) == (1, "Anna")
    found = ask("GET", f"/posts?q={word}", 200).json()
    assert [each["id"] for each in found] == [post["id"]]
    assert ask("GET", f"/posts?sort=top&owner_id={me['id']}", 200).json() == found
    headers["If-Match"] = seen.headers["ETag"]
    ask("PUT", path, 200, json=draft | {"content": "Another."})
    ask("PUT", path, 412, json=draft)
    del headers["If-Match"]
    ask("PATCH", path, 200, json={"published": False})
    ask("DELETE", f"{path}/vote", 204)
    ask("DELETE", path, 204)
    ask("GET", path, 404)
    # end: posts only

    change = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    ask("PUT", "/users/me/password", 204, json=change)
    ask("POST", "/users/me/verification", 202)
    ask("POST", "/password-reset", 202, json={"email": email})
    assert len(ask("GET", "/sessions", 200).json()) == 1
    ask("POST", "/logout", 204)
    ask("GET", "/users/me", 401)
    headers["Authorization"] = f"Bearer {log_in(NEW_PASSWORD)['access_token']}"
    ask("POST", "/users/me/deletion", 204, json={"current_password": NEW_PASSWORD})
    ask("GET", "/users/me", 401)
