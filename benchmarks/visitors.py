"""Mixed load for the endurance run: visitors who log in, read, write, vote, search, err and leave.

Each is a closed loop and does one thing after the other by chance. What they write they delete
again, so that the data stays the size it is.
"""

import asyncio
import socket
import struct
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random

import httpx

from contenders.gatepost import PASSWORD, login
from contenders.target import CONTENT, USERS, email_of

OWN_POSTS = 10
ACTIONS = 100
"""On one connection; the next one may lead to another worker."""
WORDS = ("post", "bench", "same", '"over and over"', "th*", "nothing")
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time to linger: closing sends a RST."""


@dataclass
class Tally:
    """What came of the requests since it was last emptied."""

    statuses: Counter[int] = field(default_factory=Counter)
    """0: no answer."""
    seconds: list[float] = field(default_factory=list)
    aborted: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    """Answers with a status that the request should not have had."""

    def empty(self) -> "Tally":
        """What is in it until now."""
        taken = Tally(self.statuses, self.seconds, self.aborted, self.wrong)
        self.__init__()
        return taken


class Visitor:
    """One user, at work by `visit` until it is cancelled."""

    def __init__(self, number: int, url: str, posts: int, tally: Tally) -> None:
        self._number = number
        self._url = httpx.URL(url)
        self._posts = posts
        self._tally = tally
        self._chance = Random(number)
        self._own: deque[tuple[int, str]] = deque()
        self._tokens: dict[str, str] = {}
        self._actions: dict[Callable[[], Awaitable[None]], int] = {
            self._read: 30,
            self._walk: 10,
            self._search: 5,
            self._look_around: 10,
            self._write: 10,
            self._edit: 8,
            self._vote: 8,
            self._refresh: 3,
            self._log_in_again: 2,
            self._log_in_wrongly: 1,
            self._replay: 1,
            self._forget_password: 1,
            self._register: 1,
            self._err: 8,
            self._abort: 4,
        }

    async def visit(self) -> None:
        actions, weights = list(self._actions), list(self._actions.values())
        while True:
            async with httpx.AsyncClient(base_url=self._url, timeout=30) as self._client:
                if not self._tokens:
                    await self._log_in()
                for action in self._chance.choices(actions, weights, k=ACTIONS):
                    await action()

    async def _ask(
        self, method: str, path: str, expected: int | tuple[int, ...] = 200, **request: object
    ) -> httpx.Response | None:
        """The answer; None without one."""
        token = self._tokens.get("access_token")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers |= request.pop("headers", {})
        started = time.perf_counter()
        try:
            answer = await self._client.request(method, path, headers=headers, **request)
        except httpx.TransportError:
            self._tally.statuses[0] += 1
            return None
        self._tally.seconds.append(time.perf_counter() - started)
        self._tally.statuses[answer.status_code] += 1
        wanted = (expected,) if isinstance(expected, int) else expected
        if answer.status_code not in (*wanted, 503):
            self._tally.wrong[f"{method} {path[:40]}: {answer.status_code}"] += 1
        return answer

    async def _log_in(self) -> None:
        while True:
            answer = await self._ask("POST", "/login", data=login(self._number))
            if answer is not None and answer.status_code == 200:
                self._tokens = answer.json()
                return
            await asyncio.sleep(0.1)

    async def _log_in_again(self) -> None:
        await self._ask(*self._chance.choice([("POST", "/logout"), ("DELETE", "/sessions")]), 204)
        await self._ask("GET", "/users/me", 401)
        await self._log_in()

    async def _log_in_wrongly(self) -> None:
        # Known and unknown addresses, of which there is no endless number.
        for email in (email_of(self._number), f"nobody{self._chance.randrange(1000)}@example.com"):
            form = {"username": email, "password": "a wrong password"}
            await self._ask("POST", "/login", 401, data=form)

    async def _refresh(self) -> None:
        form = {"refresh_token": self._tokens["refresh_token"]}
        answer = await self._ask("POST", "/refresh", data=form)
        if answer is not None and answer.status_code == 200:
            self._tokens = answer.json()
        else:  # without an answer the new token is lost, as for any client
            await self._log_in()

    async def _replay(self) -> None:
        spent = {"refresh_token": self._tokens["refresh_token"]}
        await self._refresh()
        await self._ask("POST", "/refresh", 401, data=spent)
        await self._ask("GET", "/users/me", 401)
        await self._log_in()

    async def _forget_password(self) -> None:
        await self._ask("POST", "/password-reset", 202, json={"email": email_of(self._number)})
        code = {"token": "x" * 43, "new_password": PASSWORD}
        await self._ask("PUT", "/password-reset", 400, json=code)

    async def _register(self) -> None:
        email = f"new{self._chance.getrandbits(64)}@example.com"
        person = {"email": email, "password": PASSWORD}
        await self._ask("POST", "/users", 201, json=person)
        answer = await self._ask("POST", "/login", data={"username": email, "password": PASSWORD})
        if answer is not None and answer.status_code == 200:
            bearer = {"Authorization": f"Bearer {answer.json()['access_token']}"}
            gone = {"current_password": PASSWORD}
            await self._ask("POST", "/users/me/deletion", 204, json=gone, headers=bearer)

    async def _read(self) -> None:
        path = f"/posts/{self._chance.randint(1, self._posts)}"
        answer = await self._ask("GET", path)
        if answer is not None and answer.status_code == 200:
            known = {"If-None-Match": answer.headers["ETag"]}
            await self._ask("GET", path, (200, 304), headers=known)  # others vote meanwhile

    async def _look_around(self) -> None:
        await self._ask("GET", "/users/me")
        await self._ask("GET", f"/users/{self._chance.randint(1, USERS)}")
        await self._ask("GET", "/sessions")
        await self._ask("HEAD", "/posts")

    async def _walk(self) -> None:
        sort = self._chance.choice(["newest", "oldest", "top"])
        path = f"/posts?limit=10&sort={sort}"
        for _ in range(3):
            answer = await self._ask("GET", path)
            if answer is None or "next" not in answer.links:
                return
            path = httpx.URL(answer.links["next"]["url"]).raw_path.decode()

    async def _search(self) -> None:
        query = {"q": self._chance.choice(WORDS), "limit": 10}
        await self._ask("GET", "/posts", params=query)

    async def _write(self) -> None:
        key = {"Idempotency-Key": f"{self._chance.getrandbits(64)}"}
        draft = {"title": "Endurance", "content": CONTENT, "published": self._chance.random() < 0.8}
        for _ in range(self._chance.choice([1, 1, 2])):
            answer = await self._ask("POST", "/posts", 201, json=draft, headers=key)
        if answer is not None and answer.status_code == 201:
            self._own.append((answer.json()["id"], answer.headers["ETag"]))
        while len(self._own) > OWN_POSTS:
            await self._ask("DELETE", f"/posts/{self._own.popleft()[0]}", (204, 404))

    async def _edit(self) -> None:
        if not self._own:
            return
        number, tag = self._own.pop()
        path = f"/posts/{number}"
        change = {"title": f"Endurance {self._chance.random()}"}
        answer = await self._ask("PATCH", path, json=change, headers={"If-Match": tag})
        if answer is not None and answer.status_code == 200:
            await self._ask("PATCH", path, 412, json=change, headers={"If-Match": tag})
            self._own.append((number, answer.headers["ETag"]))

    async def _vote(self) -> None:
        path = f"/posts/{self._chance.randint(1, self._posts)}/vote"
        for method in ("PUT", "PUT", "DELETE"):
            await self._ask(method, path, 204)

    async def _err(self) -> None:
        """What clients do wrong."""
        method, path, expected, request = self._chance.choice(
            [
                ("GET", f"/posts/{10**15 + self._chance.getrandbits(32)}", 404, {}),
                ("GET", "/posts/x", 422, {}),
                ("GET", f"/posts?after={self._chance.getrandbits(64)}", 400, {}),
                ("GET", f"/nothing/{self._chance.getrandbits(64)}", 404, {}),
                ("PUT", "/posts", 405, {}),
                ("GET", "/users", 403, {}),
                ("POST", "/posts", 422, {"json": {"title": "x" * 300, "owner_id": 1}}),
                ("POST", "/posts", 422, {"content": b"{" * 5000, "headers": JSON}),
                ("POST", "/posts", 415, {"content": b"<post/>", "headers": XML}),
                ("POST", "/posts", 413, {"content": b"x" * (2 * 2**20 + 1), "headers": JSON}),
                ("GET", "/users/me", 401, {"headers": {"Authorization": self._forged()}}),
            ]
        )
        await self._ask(method, path, expected, **request)

    def _forged(self) -> str:
        head, _, tail = self._tokens["access_token"].rpartition(".")
        return f"Bearer {head}.{self._chance.getrandbits(200):050x}{tail[50:]}"

    async def _abort(self) -> None:
        """Break off: within the head, within the body, or before the answer; by FIN or by RST."""
        body = b'{"title": "Aborted", "content": "x", "published": false}'
        head = (
            f"{{}} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self._tokens['access_token']}\r\n"
        )
        list_posts = head.format("GET /posts?limit=100").encode()
        write = head.format("POST /verification").encode() + (
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        beginnings = (b"", b"GET / HT", b"\x16\x03\x01\x00", list_posts, write, write + body[:20])
        sent = self._chance.choice((*beginnings, list_posts + b"\r\n", write + body))
        try:
            _, writer = await asyncio.open_connection(self._url.host, self._url.port)
            writer.write(sent)
            await writer.drain()
            await asyncio.sleep(self._chance.choice([0, 0.001, 0.01, 0.1]))
            if self._chance.random() < 0.5:
                sock: socket.socket = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.close()
            await writer.wait_closed()
        except OSError:
            pass
        self._tally.aborted += 1


JSON = {"Content-Type": "application/json"}
XML = {"Content-Type": "application/xml"}
