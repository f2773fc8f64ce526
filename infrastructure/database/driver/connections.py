"""Connections to PostgreSQL, and what their errors mean."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

import asyncpg
from sqlalchemy.dialects.postgresql import asyncpg as sqlalchemy_asyncpg

from infrastructure.database.driver.addresses import PostgresAddress
from infrastructure.database.driver.statements import Record

DIALECT = sqlalchemy_asyncpg.dialect()  # type: ignore[no-untyped-call]

DOWN = (
    OSError,  # TimeoutError among them
    asyncpg.PostgresConnectionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.InvalidCachedStatementError,
)


if TYPE_CHECKING:
    _Asyncpgs = asyncpg.Connection[asyncpg.Record]
    _Statement = asyncpg.prepared_stmt.PreparedStatement[asyncpg.Record]
else:
    _Asyncpgs = asyncpg.Connection


class Connection(_Asyncpgs):
    """Keeps the statements that it has prepared.

    asyncpg's way to its own cache of them is a fifth of what a read by key costs alone.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._prepared: dict[str, _Statement] = {}

    async def run(self, sql: str, arguments: Sequence[Any]) -> Sequence[Record]:
        statement = self._prepared.get(sql)
        if statement is None:
            statement = self._prepared[sql] = await self.prepare(sql)
        try:
            records = await statement.fetch(*arguments)
        except asyncpg.InvalidCachedStatementError:  # the schema has changed
            del self._prepared[sql]
            if self.is_in_transaction():
                raise
            return await self.run(sql, arguments)
        return cast("Sequence[Record]", records)

    async def run_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run `sql` with each of `rows`, in one round trip and inside of a transaction."""
        statement = self._prepared.get(sql)
        if statement is None:
            statement = self._prepared[sql] = await self.prepare(sql)
        try:
            await statement.executemany(rows)
        except asyncpg.InvalidCachedStatementError:
            del self._prepared[sql]
            raise


class _Forgetful(Connection):
    """Keeps none."""

    async def run(self, sql: str, arguments: Sequence[Any]) -> Sequence[Record]:
        return cast("Sequence[Record]", await self.fetch(sql, *arguments))

    async def run_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        await self.executemany(sql, rows)


def is_refusal(error: BaseException) -> bool:
    """Whether the server said that it did not do it, as opposed to saying nothing more."""
    return isinstance(error, asyncpg.QueryCanceledError) or (
        isinstance(error, asyncpg.PostgresError)
        and not isinstance(
            error, (asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError)
        )
    )


class NotAccepted(ConnectionError):
    """The server does not take a connection with these options."""


async def connect(address: PostgresAddress, *, within: float) -> tuple[Connection, str]:
    """A connection to the first of the hosts that takes us, and that host; in seconds.

    asyncpg itself would give all the time to the first that does not answer.
    """
    until = monotonic() + min(within, address.connect_timeout or within)
    for untried, host in zip(range(len(address.hosts), 0, -1), address.hosts, strict=True):
        share = (until - monotonic()) / untried
        try:
            return await _connect(host, address.statement_cache_size, share), host
        except DOWN:
            if untried == 1:
                raise
    raise ValueError("no host")


async def _connect(host: str, statement_cache_size: int, within: float) -> Connection:
    kind = Connection if statement_cache_size else _Forgetful
    try:
        return await asyncpg.connect(
            host, timeout=within, statement_cache_size=statement_cache_size, connection_class=kind
        )
    except ConnectionError as error:
        if "rejected SSL upgrade" in str(error):
            raise NotAccepted("the server takes no TLS, which sslmode asks for") from error
        raise
    except asyncpg.UndefinedObjectError as error:  # such as of a setting in `options`
        raise NotAccepted(f"options: {error}") from error
