"""What each request asks of the database: nothing twice, and nothing that it could do without."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Dialect, Insert, Update

from api.app import create_app
from infrastructure.database.driver.statements import Clause, Database, Record, Transaction
from infrastructure.database.queries import SqlQueries
from infrastructure.database.unit_of_work import sql_storage
from tests.api.client import PASSWORD, ApiClient, Person, client_of


class Counted(Database):
    """A database that notes what it is asked for. Rows that are sent with the commit are no
    statements of their own.
    """

    def __init__(self, database: Any, asked: list[str]) -> None:
        self._database = database
        self._asked = asked
        self.dialect: Dialect = database.dialect
        self.is_remote: bool = database.is_remote
        if self.is_remote:
            self.timeout: float = database.timeout

    async def open(self) -> None: ...
    async def close(self) -> None: ...
    async def check(self) -> None: ...

    async def fetch(self, clause: Clause, **values: Any) -> Sequence[Record]:
        self._asked.append("read")
        records: Sequence[Record] = await self._database.fetch(clause, **values)
        return records

    fetch_shared = fetch

    async def fetch_long(
        self, clause: Clause, *, reader: int | None = None, **values: Any
    ) -> Sequence[Record]:
        self._asked.append("list")
        records: Sequence[Record] = await self._database.fetch_long(clause, **values)
        return records

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        async with self._database.transaction() as transaction:
            yield CountedTransaction(transaction, self._asked)


class CountedTransaction:
    def __init__(self, transaction: Transaction, asked: list[str]) -> None:
        self._transaction = transaction
        self._asked = asked

    async def fetch(self, clause: Clause, **values: Any) -> Sequence[Record]:
        self._asked.append("change")
        return await self._transaction.fetch(clause, **values)

    async def add(self, clause: Insert, **values: Any) -> int:
        self._asked.append("add")
        return await self._transaction.add(clause, **values)

    def defer(self, clause: Insert | Update, **values: Any) -> None:
        self._transaction.defer(clause, **values)

    async def commit(self) -> None:
        self._asked.append("commit")
        await self._transaction.commit()


POST = {"title": "Hello", "content": "First post."}
AUTH = ["read"]
"""Session and user, by one query."""

Ask = Callable[[Person], tuple[str, str, dict[str, Any]]]

REQUESTS: dict[str, tuple[Ask, list[str]]] = {
    "current user": (lambda _: ("GET", "/users/me", {}), AUTH),
    "a user": (lambda anna: ("GET", f"/users/{anna.id}", {}), [*AUTH, "read"]),
    "a post": (lambda _: ("GET", "/posts/{post}", {}), [*AUTH, "read"]),
    "no post": (lambda _: ("GET", "/posts/4711", {}), [*AUTH, "read"]),
    "a list": (lambda _: ("GET", "/posts?limit=100", {}), [*AUTH, "list"]),
    "a search": (lambda _: ("GET", "/posts?q=hello&sort=top", {}), [*AUTH, "list"]),
    "writing": (lambda _: ("POST", "/posts", {"json": POST}), [*AUTH, "add", "commit"]),
    "editing": (
        lambda _: ("PUT", "/posts/{post}", {"json": POST}),
        [*AUTH, "change", "change", "commit"],
    ),
    "deleting": (
        lambda _: ("DELETE", "/posts/{post}", {}),
        [*AUTH, "change", "change", "commit"],
    ),
    "voting": (lambda _: ("PUT", "/posts/{post}/vote", {}), [*AUTH, "read", "commit"]),
    "logging in": (
        lambda anna: ("POST", "/login", {"data": {"username": anna.email, "password": PASSWORD}}),
        # The account, and whether it is known in the client's network (for the limits); the new
        # session, and the end of those over the maximum.
        ["read", "read", "change", "change", "commit"],
    ),
    "refreshing": (
        lambda anna: ("POST", "/refresh", {"data": {"refresh_token": anna.refresh_token}}),
        ["read", "change", "change", "commit"],
    ),
    "logging out": (lambda _: ("POST", "/logout", {}), [*AUTH, "change", "commit"]),
    "nobody": (lambda _: ("GET", "/nowhere", {}), []),
}


@pytest.mark.parametrize("request_", REQUESTS)
async def test_a_request_asks_for_no_more_than_it_needs(gate: ApiClient, request_: str) -> None:
    anna = await gate.person()
    post = await gate.post(anna)
    asked: list[str] = []
    counted = Counted(gate.database, asked)
    ports = replace(gate.ports, queries=SqlQueries(counted), storage=sql_storage(counted))
    ask, expected = REQUESTS[request_]
    method, path, options = ask(anna)

    async with client_of(create_app(ports, cursor_key=b"k" * 32)) as client:
        url = path.replace("{post}", str(post["id"]))
        headers = {} if path in ("/login", "/refresh") else anna.headers
        answer = await client.request(method, url, headers=headers, **options)

    assert answer.status_code in (200, 201, 204, 404), answer.text
    assert asked == expected
