"""The unit of work, and what a violated constraint means."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, cast

from sqlalchemy import Insert, Update

from application.concepts import adapter, modules
from application.ports.storage import P, Storage, T, UnitOfWork
from application.reactions import REACTIONS, Reactions, jobs_for
from domain.errors import AlreadyGone, DomainError
from domain.events import Event
from infrastructure.database import events, jobs
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


class SqlUnitOfWork(UnitOfWork):
    """Ends with its commit or with the first statement that fails. PostgreSQL would answer a commit
    after a failed statement with a rollback, and without an error.
    """

    def __init__(
        self,
        transaction: Transaction,
        *,
        counts_writes: bool = False,
        wake: Callable[[], None] = lambda: None,
        reactions: Reactions = REACTIONS,
    ) -> None:
        self._transaction = transaction
        self._counts_writes = counts_writes
        self._wake = wake
        self._reactions = reactions
        self._adds_jobs = False
        self._over = False
        self._recorded: list[Event] = []

    def of(self, port: type[P], /) -> P:
        repository: Any = adapter(port, PACKAGE)
        return cast("P", repository(self))

    async def fetch(self, clause: Clause, **values: Any) -> Sequence[Record]:
        self._use_up()
        with _domain_errors():
            records = await self._transaction.fetch(clause, **values)
        self._over = False
        return records

    def record(self, event: Event) -> None:
        events.record(self._transaction, event)
        for job in jobs_for(event, self._reactions):
            jobs.add(self, jobs.stored(job))
        self._recorded.append(event)

    async def add(self, clause: Insert, **values: Any) -> int:
        self._use_up()
        with _domain_errors():
            new_id = await self._transaction.add(clause, **values)
        self._over = False
        return new_id

    def defer(self, clause: Insert | Update, **values: Any) -> None:
        self._use_up()
        self._transaction.defer(clause, **values)
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

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[SqlUnitOfWork]:
        async with self._database.transaction() as transaction:
            yield SqlUnitOfWork(
                transaction,
                counts_writes=self._counts_writes,
                wake=self._wake,
                reactions=self._reactions,
            )

    async def run(self, work: Callable[[UnitOfWork], Awaitable[T]]) -> T:
        async def attempt() -> T:
            async with self() as uow:
                return await work(uow)

        return await retrying(attempt)

    def on_jobs(self, wake: Callable[[], None]) -> None:
        self._wakes.append(wake)

    def _wake(self) -> None:
        for wake in self._wakes:
            wake()
