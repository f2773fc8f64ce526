"""The unit of work, and what a violated constraint means."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from typing import Any, cast

from sqlalchemy import Delete, Insert, Select, Update

from application.concepts import adapter, modules
from application.deliveries import send_to_webhooks
from application.outages import SerializationFailure
from application.ports.storage import P, Storage, T, UnitOfWork
from application.reactions import ANY, REACTIONS, Reactions, jobs_for
from domain.errors import AlreadyGone, DomainError
from domain.events import Event
from domain.users import User
from infrastructure.database import events, jobs, reactions
from infrastructure.database.driver.lookups import Lookup, Part
from infrastructure.database.driver.retries import retrying
from infrastructure.database.driver.rows import Row
from infrastructure.database.driver.statements import (
    Clause,
    ConstraintViolated,
    Database,
    Record,
    Transaction,
)
from infrastructure.database.requester import REQUESTER
from infrastructure.database.users import COUNT_WRITE

PACKAGE = "infrastructure.database"

modules(PACKAGE)  # imported at the start, so that a field without a column is an error then


def meaning_of(constraint: str) -> type[DomainError] | None:
    """The error that a violated constraint means, by its name. None: the violation is a bug."""
    if constraint.startswith("fk"):
        return AlreadyGone
    rows = Row.__subclasses__()
    return next((row.unique[constraint] for row in rows if constraint in row.unique), None)


@contextmanager
def _domain_errors() -> Iterator[None]:
    try:
        yield
    except ConstraintViolated as error:
        meaning = meaning_of(error.name)
        if meaning is None:
            raise
        raise meaning from error


LookupOf = Callable[[Callable[[Database], Lookup]], Lookup]
"""The lookup of a kind that all units of work of a storage share."""


class SqlUnitOfWork(UnitOfWork):
    """Ends with its commit or with the first statement that fails. PostgreSQL would answer a commit
    after a failed statement with a rollback, and without an error.

    With `lookup_of` it is optimistic: what it finds is not locked, and what it changes goes to the
    database with the commit, guarded by the version. If another one was faster, the commit raises
    `SerializationFailure`.
    """

    def __init__(
        self,
        transaction: Transaction,
        *,
        counts_writes: bool = False,
        wake: Callable[[], None] = lambda: None,
        reactions: Reactions = REACTIONS,
        lookup_of: LookupOf | None = None,
    ) -> None:
        self._transaction = transaction
        self._counts_writes = counts_writes
        self._wake = wake
        self._reactions = reactions
        self._adds_jobs = False
        self._lookup_of = lookup_of
        self._looked_up = False
        self._touched = False
        """Whether the transaction was asked for anything, and so may have begun."""
        self._over = False
        self._recorded: list[Event] = []

    def of(self, port: type[P], /) -> P:
        repository: Any = adapter(port, PACKAGE)
        return cast("P", repository(self))

    async def fetch(self, clause: Clause, **values: Any) -> Sequence[Record]:
        self._use_up()
        self._touched = True
        with _domain_errors():
            records = await self._transaction.fetch(clause, **values)
        self._over = False
        return records

    async def find(
        self, lookup: Callable[[Database], Lookup], locking: Select[Any], **key: Part
    ) -> Record | None:
        if self._lookup_of is None or self._touched:
            records = await self.fetch(locking, **key)
            return records[0] if records else None
        self._use_up()
        record = await self._lookup_of(lookup)(*key.values())
        self._over = False
        self._looked_up = True
        return record

    async def change(
        self, clause: Update | Delete, stale: type[DomainError], **values: Any
    ) -> None:
        if self._looked_up and not self._touched:
            self.defer(clause, guarded=True, **values)
        elif not await self.fetch(clause, **values):
            raise SerializationFailure if self._looked_up else stale

    def record(self, event: Event, *, concerned: User | None = None) -> None:
        has_webhooks = send_to_webhooks in self._reactions.get(ANY, ())
        then = reactions.ADD_IF_SUBSCRIBED if has_webhooks else None
        events.record(self._transaction, event, then=then)
        self._adds_jobs |= has_webhooks
        for job in jobs_for(event, self._reactions, concerned=concerned):
            jobs.add(self._transaction, jobs.stored(job))
            self._adds_jobs = True
        self._recorded.append(event)

    async def add(self, clause: Insert, **values: Any) -> int:
        self._use_up()
        self._touched = True
        with _domain_errors():
            new_id = await self._transaction.add(clause, **values)
        self._over = False
        return new_id

    def defer(
        self, clause: Insert | Update | Delete, *, guarded: bool = False, **values: Any
    ) -> None:
        self._use_up()
        self._touched = True
        self._transaction.defer(clause, guarded=guarded, **values)
        self._adds_jobs |= clause.table is jobs.JOBS
        self._over = False

    async def commit(self) -> None:
        self._use_up()
        requester = REQUESTER.get() if self._counts_writes else None
        if requester is not None:
            self._transaction.defer(COUNT_WRITE, author=requester.user_id)
        with _domain_errors():
            await self._transaction.commit()
        for event in self._recorded:
            events.log(event)
        if self._adds_jobs:
            self._wake()

    def _use_up(self) -> None:
        if self._over:
            raise RuntimeError("This unit of work is over")
        self._over = True


class SqlStorage(Storage):
    """`counts_writes`: whether the writes of each requester are counted, as a replica needs it.
    `reactions`: what follows the events that are recorded.
    """

    def __init__(
        self,
        database: Database,
        *,
        counts_writes: bool = False,
        reactions: Reactions = REACTIONS,
    ) -> None:
        self._reactions = reactions
        self._database = database
        self._counts_writes = counts_writes
        self._wakes: list[Callable[[], None]] = []
        self._lookup_of: LookupOf = cache(lambda lookup: lookup(database))

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[SqlUnitOfWork]:
        async with self._database.transaction() as transaction:
            yield self._unit_of_work(transaction)

    async def run(self, work: Callable[[UnitOfWork], Awaitable[T]]) -> T:
        attempts = 0

        async def attempt() -> T:
            nonlocal attempts
            attempts += 1
            # Only the first one is optimistic: the second locks, and so cannot lose again.
            lookup_of = self._lookup_of if attempts == 1 else None
            async with self._database.transaction() as transaction:
                return await work(self._unit_of_work(transaction, lookup_of))

        return await retrying(attempt)

    def _unit_of_work(
        self, transaction: Transaction, lookup_of: LookupOf | None = None
    ) -> SqlUnitOfWork:
        return SqlUnitOfWork(
            transaction,
            counts_writes=self._counts_writes,
            wake=self._wake,
            reactions=self._reactions,
            lookup_of=lookup_of,
        )

    def on_jobs(self, wake: Callable[[], None]) -> None:
        self._wakes.append(wake)

    def _wake(self) -> None:
        for wake in self._wakes:
            wake()
