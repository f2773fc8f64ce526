"""The unit of work, and what a violated constraint means."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from sqlalchemy import Insert, Update

from application.ports.storage import Storage
from domain.errors import AlreadyGone, DomainError
from domain.events import Event
from domain.users import EmailTaken, UserId
from infrastructure.database import events
from infrastructure.database.access_tokens import SqlAccessTokens
from infrastructure.database.driver.statements import (
    Clause,
    ConstraintViolated,
    Database,
    Record,
    Transaction,
)
from infrastructure.database.external_identities import SqlIdentities
from infrastructure.database.idempotency import SqlIdempotency
from infrastructure.database.mail import SqlOutbox
from infrastructure.database.one_time_codes import SqlOneTimeCodes
from infrastructure.database.posts import SqlPosts
from infrastructure.database.sessions import SqlSessions
from infrastructure.database.users import COUNT_WRITE, SqlUsers
from infrastructure.database.votes import SqlVotes

MEANING: dict[str, type[DomainError]] = {
    "uq_users_email_key": EmailTaken,
    # As PostgreSQL calls it, and SQLite: of two first sights, one comes second.
    "pk_identities": EmailTaken,
    "uq_identities_key": EmailTaken,
    # SQLite does not say which foreign key it was.
    "fk": AlreadyGone,
    "fk_access_tokens_session_id": AlreadyGone,
    "fk_one_time_codes_user_id": AlreadyGone,
    "fk_posts_owner_id": AlreadyGone,
    "fk_sessions_user_id": AlreadyGone,
    "fk_spent_refresh_tokens_session_id": AlreadyGone,
    "fk_votes_post_id": AlreadyGone,
    "fk_votes_user_id": AlreadyGone,
    "fk_idempotency_keys_user_id": AlreadyGone,
}


@contextmanager
def _domain_errors() -> Iterator[None]:
    try:
        yield
    except ConstraintViolated as error:
        if error.name not in MEANING:
            raise
        raise MEANING[error.name] from error


class SqlUnitOfWork:
    """Over with its commit or with the first statement that fails: PostgreSQL answers the commit of
    a transaction in which one failed with a rollback, and no error.
    """

    def __init__(self, transaction: Transaction, author: UserId | None = None) -> None:
        self._transaction = transaction
        self._author = author
        self._over = False
        self._recorded: list[Event] = []
        self.users = SqlUsers(self)
        self.sessions = SqlSessions(self)
        self.access_tokens = SqlAccessTokens(self)
        self.identities = SqlIdentities(self)
        self.posts = SqlPosts(self)
        self.codes = SqlOneTimeCodes(self)
        self.outbox = SqlOutbox(self)
        self.votes = SqlVotes(self)
        self.idempotency = SqlIdempotency(self)

    async def fetch(self, clause: Clause, **values: Any) -> Sequence[Record]:
        self._use_up()
        with _domain_errors():
            records = await self._transaction.fetch(clause, **values)
        self._over = False
        return records

    def record(self, event: Event) -> None:
        events.record(self._transaction, event)
        self._recorded.append(event)

    async def add(self, clause: Insert, **values: Any) -> int:
        self._use_up()
        with _domain_errors():
            new_id = await self._transaction.add(clause, **values)
        self._over = False
        return new_id

    def defer(self, clause: Insert | Update, **values: Any) -> None:
        self._transaction.defer(clause, **values)

    async def commit(self) -> None:
        self._use_up()
        if self._author is not None:
            self._transaction.defer(COUNT_WRITE, author=self._author)
        with _domain_errors():
            await self._transaction.commit()
        for event in self._recorded:
            events.log(event)

    def _use_up(self) -> None:
        if self._over:
            raise RuntimeError("This unit of work is over")
        self._over = True


def sql_storage(database: Database, *, counts_writes: bool = False) -> Storage:
    """`counts_writes`: whether each author's writes are counted, as replicas need it."""

    @asynccontextmanager
    async def unit_of_work(author: UserId | None = None) -> AsyncIterator[SqlUnitOfWork]:
        async with database.transaction() as transaction:
            yield SqlUnitOfWork(transaction, author if counts_writes else None)

    return unit_of_work
