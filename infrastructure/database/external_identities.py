"""Identities of users at an outside provider: row and repository."""

from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import ClassVar

from sqlalchemy import String, any_, bindparam, delete, insert, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Field

from application.ports.storage import Identities
from domain.addresses import email_key
from domain.users import EmailTaken, NewUser, User, UserId
from infrastructure.database.driver.exported import OWNER, Exported
from infrastructure.database.driver.lookups import Lookup, lookup
from infrastructure.database.driver.rows import Row, reference, table, timestamp_column
from infrastructure.database.driver.statements import Database, Transaction
from infrastructure.database.requester import REQUESTER, Requester
from infrastructure.database.users import USER, USERS


class IdentityRow(Row, table=True):
    __tablename__ = "identities"
    # PostgreSQL's name and SQLite's. Violated when two first requests of a user are concurrent.
    unique: ClassVar = {"pk_identities": EmailTaken, "uq_identities_key": EmailTaken}

    key: str = Field(primary_key=True)
    """The issuer's URL, a space, and the subject there."""
    user_id: int = reference("users.id", index=True)


IDENTITIES = table(IdentityRow)
EXPORTED = (
    Exported(
        "identities",
        [IDENTITIES.c.key],
        owned=IDENTITIES.c.user_id == OWNER,
        key=IDENTITIES.c.key,
    ),
)


class EndedIdentityRow(Row, table=True):
    """An identity whose user deleted the account, for as long as tokens of it may live."""

    __tablename__ = "ended_identities"

    key_hash: str = Field(primary_key=True)
    """SHA-256 of the identity's key, so that nothing personal is kept."""
    ended_at: datetime = timestamp_column()


ENDED_IDENTITIES = table(EndedIdentityRow)

_EVER = datetime(1970, 1, 1, tzinfo=UTC)

_BY_KEY = (
    select(*USER.columns, USERS.c.writes)
    .join(IDENTITIES, IDENTITIES.c.user_id == USERS.c.id)
    .where(IDENTITIES.c.key == bindparam("key"))
)
_BY_KEYS = (
    select(IDENTITIES.c.key, *USER.columns, USERS.c.writes)
    .join(USERS, USERS.c.id == IDENTITIES.c.user_id)
    .where(IDENTITIES.c.key == any_(bindparam("key", type_=ARRAY(String))))
)
_ENDED_AT = select(ENDED_IDENTITIES.c.ended_at).where(
    ENDED_IDENTITIES.c.key_hash == bindparam("key_hash")
)
_REMOVE = (
    delete(IDENTITIES)
    .where(IDENTITIES.c.user_id == bindparam("user_id"))
    .returning(IDENTITIES.c.key)
)
# PostgreSQL's construct, which SQLite's compiler writes in the same words.
_END = postgresql.insert(ENDED_IDENTITIES).values(
    key_hash=bindparam("key_hash"), ended_at=bindparam("ended_at")
)
_END = _END.on_conflict_do_update(
    index_elements=["key_hash"], set_={"ended_at": _END.excluded.ended_at}
)
_ADD = insert(IDENTITIES).values(key=bindparam("key"), user_id=bindparam("user_id"))


def _key(issuer: str, subject: str) -> str:
    return f"{issuer} {subject}"


def _hash(key: str) -> str:
    return sha256(key.encode()).hexdigest()


def identity_lookup(database: Database) -> Lookup:
    """Finds a user by their identity."""
    return lookup(database, one=_BY_KEY, many=_BY_KEYS, key=["key"])


async def by_identity(find: Lookup, issuer: str, subject: str) -> User | None:
    record = await find(_key(issuer, subject))
    if record is None:
        return None
    user = USER.of(record)
    REQUESTER.set(Requester(user.id, writes=record[-1]))
    return user


class SqlIdentities(Identities):
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def add(self, user: NewUser, *, issuer: str, subject: str) -> User:
        # The first token of the user was issued before the user is stored.
        new = replace(user.stored_as(0), is_verified=True, tokens_valid_from=_EVER)
        values = USER.values(new) | {"email_key": email_key(user.email)}
        ((user_id,),) = await self._transaction.fetch(
            USER.insert,
            **values,
            password_hash="",  # matches no password
        )
        added = replace(new, id=UserId(user_id))
        key = _key(issuer, subject)
        await self._transaction.fetch(_ADD, key=key, user_id=added.id)
        REQUESTER.set(Requester(added.id, 0))
        return added

    async def ended_at(self, issuer: str, subject: str) -> datetime | None:
        records = await self._transaction.fetch(_ENDED_AT, key_hash=_hash(_key(issuer, subject)))
        return records[0][0] if records else None

    async def end(self, user_id: UserId, now: datetime) -> None:
        for (key,) in await self._transaction.fetch(_REMOVE, user_id=user_id):
            await self._transaction.fetch(_END, key_hash=_hash(key), ended_at=now)
