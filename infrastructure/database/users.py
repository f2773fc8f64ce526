"""Users: row, mapping and repository."""

from datetime import datetime

from sqlalchemy import bindparam, insert, select, update
from sqlmodel import Field

from application.ports.passwords import PasswordHash
from application.ports.queries import Credentials
from domain.users import NewUser, Role, User, UserId, email_key
from infrastructure.database.rows import Row, identity, moment, table
from infrastructure.database.statements import Database, Record, Transaction


class UserRow(Row, table=True):
    __tablename__ = "users"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: int | None = identity()
    email: str
    email_key: str = Field(unique=True)
    name: str | None
    role: str
    is_active: bool
    is_verified: bool
    password_hash: str
    created_at: datetime = moment()
    tokens_valid_from: datetime = moment()


USERS = table(UserRow)

USER_COLUMNS = (
    USERS.c.id,
    USERS.c.email,
    USERS.c.name,
    USERS.c.role,
    USERS.c.is_active,
    USERS.c.is_verified,
    USERS.c.created_at,
    USERS.c.tokens_valid_from,
)

_BY_ID = select(*USER_COLUMNS).where(USERS.c.id == bindparam("id"))
_BY_EMAIL = select(USERS.c.password_hash, *USER_COLUMNS).where(
    USERS.c.email_key == bindparam("email_key")
)
_ADD = (
    insert(USERS)
    .values(
        email=bindparam("email"),
        email_key=bindparam("email_key"),
        name=bindparam("name"),
        role=bindparam("role"),
        is_active=True,
        is_verified=False,
        password_hash=bindparam("password_hash"),
        created_at=bindparam("created_at"),
        tokens_valid_from=bindparam("created_at"),
    )
    .returning(*USER_COLUMNS)
)
_PROMOTE = (
    update(USERS)
    .values(role=bindparam("new_role"))
    .where(USERS.c.email_key == bindparam("key"))
    .returning(*USER_COLUMNS)
)


def user_of(record: Record) -> User:
    """The user in the `USER_COLUMNS` of a record."""
    id_, email, name, role, is_active, is_verified, created_at, tokens_valid_from = record
    return User(
        id=UserId(id_),
        email=email,
        name=name,
        role=Role(role),
        is_active=is_active,
        is_verified=is_verified,
        created_at=created_at,
        tokens_valid_from=tokens_valid_from,
    )


async def user(database: Database, user_id: UserId) -> User | None:
    records = await database.fetch(_BY_ID, id=user_id)
    return user_of(records[0]) if records else None


async def credentials(database: Database, email: str) -> Credentials | None:
    if not _can_be_known(email):
        return None
    records = await database.fetch(_BY_EMAIL, email_key=email_key(email))
    if not records:
        return None
    password_hash, *columns = records[0]
    return Credentials(user=user_of(columns), password=PasswordHash(password_hash))


def _can_be_known(email: str) -> bool:
    """No registered address is otherwise, and databases refuse even to look for some that are."""
    return email.isprintable()


class SqlUsers:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def add(self, user: NewUser, password: PasswordHash) -> User:
        (record,) = await self._transaction.fetch(
            _ADD,
            email=user.email,
            email_key=email_key(user.email),
            name=user.name,
            role=user.role.value,
            password_hash=password,
            created_at=user.created_at,
        )
        return user_of(record)

    async def promote(self, email: str, role: Role) -> User | None:
        if not _can_be_known(email):
            return None
        records = await self._transaction.fetch(_PROMOTE, key=email_key(email), new_role=role.value)
        return user_of(records[0]) if records else None
