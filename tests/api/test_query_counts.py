"""The number and the kind of database queries of each request."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from sqlalchemy import Delete, Dialect, Insert, Update

from application.ports.tokens import Tokens
from domain.personal_tokens import token_of
from domain.scopes import Scope
from infrastructure.database.driver.statements import Clause, Database, Record, Transaction
from infrastructure.database.queries import SqlQueries
from infrastructure.database.unit_of_work import SqlStorage
from infrastructure.tokens.opaque import OpaqueTokens
from tests.api.client import ApiClient, client_on, jose_tokens, on_one_database, open_gate
from tests.api.expected import AUTH, Expected, Options, expected_routes, path_of


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

    def defer(self, clause: Insert | Update | Delete, **values: Any) -> None:
        self._transaction.defer(clause, **values)

    async def commit(self) -> None:
        self._asked.append("commit")
        await self._transaction.commit()


Ask = tuple[str, str, Options, list[str]]

# Besides the good requests of the tables.
OTHERS: dict[str, Ask] = {
    "no post": ("GET", "/posts/4711", {}, [*AUTH, "read"]),  # posts only
    "a search": ("GET", "/posts?q=hello&sort=top", {}, [*AUTH, "list"]),  # posts only
    "nobody": ("GET", "/nowhere", {}, []),
}
COUNTED = [row for row in expected_routes() if row.queries is not None]


@pytest.mark.parametrize("row", COUNTED, ids=lambda row: row.operation)
async def test_each_request_has_the_expected_queries(api: ApiClient, row: Expected) -> None:
    anna = await api.person()
    path, options = await path_of(row.path, api, anna), await row.request_of(api, anna)
    headers = {} if row.statuses is None else anna.headers

    answer, asked = await counted(api, row.method, path, headers=headers, **options)

    assert answer.is_success, answer.text
    assert asked == row.queries


@pytest.mark.parametrize(("method", "path", "options", "expected"), OTHERS.values(), ids=OTHERS)
async def test_each_special_request_has_the_expected_queries(
    api: ApiClient, method: str, path: str, options: Options, expected: list[str]
) -> None:
    anna = await api.person()

    if "q=" in path and api.database.is_remote:
        expected = [*expected, "list"]  # how many posts match is counted first

    _, asked = await counted(api, method, path, headers=anna.headers, **options)

    assert asked == expected


@pytest.mark.parametrize("technology", [jose_tokens, OpaqueTokens])
@on_one_database
async def test_a_personal_token_costs_one_query_and_a_wrong_checksum_none(
    database_url: str, technology: Callable[[Database], Tokens]
) -> None:
    unknown = token_of(7)
    async with open_gate(database_url, technology) as api:
        script = await api.token(await api.person(), Scope.ACCOUNT_READ)

        for token, queries in ((script.token, AUTH), (unknown, AUTH), (unknown[:-1] + "x", [])):
            headers = {"Authorization": f"Bearer {token}"}
            _, asked = await counted(api, "GET", "/users/me", headers=headers)
            assert asked == queries


async def counted(
    api: ApiClient, method: str, path: str, **options: Any
) -> tuple[httpx.Response, list[str]]:
    """The answer, and what the database was asked for."""
    asked: list[str] = []
    database = Counted(api.database, asked)
    ports = replace(api.ports, queries=SqlQueries(database), storage=SqlStorage(database))
    async with client_on(ports) as client:
        return await client.request(method, path, **options), asked
