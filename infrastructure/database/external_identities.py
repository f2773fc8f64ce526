"""Identities: by what name an outside provider knows a user. Row and repository."""

from datetime import UTC, datetime
from typing import ClassVar

from sqlalchemy import String, any_, bindparam, insert, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Field

from application.ports.storage import Identities
from domain.addresses import email_key
from domain.users import EmailTaken, NewUser, User
from infrastructure.database.driver.lookups import Lookup, lookup
from infrastructure.database.driver.rows import Row, reference, table
from infrastructure.database.driver.statements import Database, Transaction
from infrastructure.database.users import USER_COLUMNS, USERS, user_of


class IdentityRow(Row, table=True):
    __tablename__ = "identities"
    # As PostgreSQL and SQLite name it: of two first requests at once, one comes second.
    unique: ClassVar = {"pk_identities": EmailTaken, "uq_identities_key": EmailTaken}

    key: str = Field(primary_key=True)
    """The issuer's URL, a space, and the subject there."""
    user_id: int = reference("users.id", index=True)


IDENTITIES = table(IdentityRow)

_EVER = datetime(1970, 1, 1, tzinfo=UTC)

_BY_KEY = (
    select(*USER_COLUMNS)
    .join(IDENTITIES, IDENTITIES.c.user_id == USERS.c.id)
    .where(IDENTITIES.c.key == bindparam("key"))
)
_BY_KEYS = (
    select(IDENTITIES.c.key, *USER_COLUMNS)
    .join(USERS, USERS.c.id == IDENTITIES.c.user_id)
    .where(IDENTITIES.c.key == any_(bindparam("key", type_=ARRAY(String))))
)
_ADD_USER = (
    insert(USERS)
    .values(
        email=bindparam("email"),
        email_key=bindparam("email_key"),
        name=bindparam("name"),
        role=bindparam("role"),
        is_active=True,
        is_verified=True,
        password_hash="",  # which no password has
        created_at=bindparam("created_at"),
        tokens_valid_from=bindparam("tokens_valid_from"),
    )
    .returning(*USER_COLUMNS)
)
_ADD = insert(IDENTITIES).values(key=bindparam("key"), user_id=bindparam("user_id"))


def _key(issuer: str, subject: str) -> str:
    return f"{issuer} {subject}"


def identity_lookup(database: Database) -> Lookup:
    """Finds the user with an identity."""
    return lookup(database, one=_BY_KEY, many=_BY_KEYS, key=["key"])


async def by_identity(find: Lookup, issuer: str, subject: str) -> User | None:
    record = await find(_key(issuer, subject))
    return None if record is None else user_of(record)


class SqlIdentities(Identities):
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def add(self, user: NewUser, *, issuer: str, subject: str) -> User:
        (record,) = await self._transaction.fetch(
            _ADD_USER,
            email=user.email,
            email_key=email_key(user.email),
            name=user.name,
            role=user.role.value,
            created_at=user.created_at,
            # The token that brought the user here was issued before they were known.
            tokens_valid_from=_EVER,
        )
        added = user_of(record)
        key = _key(issuer, subject)
        await self._transaction.fetch(_ADD, key=key, user_id=added.id)
        return added
