"""Users: row, mapping and repository."""

from datetime import datetime
from typing import ClassVar

from sqlalchemy import (
    Index,
    Integer,
    bindparam,
    column,
    delete,
    func,
    literal_column,
    not_,
    select,
    text,
    update,
)
from sqlalchemy import table as sql_table
from sqlmodel import Field

from application.ports.passwords import PasswordHash
from application.ports.queries import Credentials
from application.ports.storage import Users
from domain.addresses import email_key
from domain.pages import InvalidCursor, Page
from domain.users import EmailTaken, NewUser, Role, User, UserId
from infrastructure.database.driver.mapping import Mapping
from infrastructure.database.driver.rows import (
    BigId,
    Row,
    primary_key,
    server_default,
    timestamp_column,
)
from infrastructure.database.driver.statements import Database, Record, Transaction


class UserRow(Row, table=True):
    __tablename__ = "users"
    __table_args__ = (
        Index(
            "ix_users_closed",
            "id",
            postgresql_where=text("is_closed"),
            sqlite_where=text("is_closed"),
        ),
        {"sqlite_autoincrement": True},
    )
    unique: ClassVar = {"uq_users_email_key": EmailTaken}

    id: int | None = primary_key()
    email: str
    email_key: str = Field(unique=True)
    name: str | None
    role: str
    is_active: bool
    is_verified: bool
    password_hash: str
    created_at: datetime = timestamp_column()
    tokens_valid_from: datetime = timestamp_column()
    pending_email: str | None = None
    second_factor_since: datetime | None = timestamp_column()
    is_closed: bool = server_default("false")
    """Whether the user was removed and only what was theirs is still to be deleted."""
    # Counts committed changes by the user, where a replica is read from.
    writes: int = server_default("0", sa_type=BigId)


USER = Mapping(UserRow, User)
USERS = USER.table

OPEN = not_(USERS.c.is_closed)
"""The user was not removed. Every statement that reads users or their things has this condition."""

_BY_ID = select(*USER.columns).where(USERS.c.id == bindparam("id"), OPEN)
_BY_EMAIL = select(USERS.c.password_hash, *USER.columns).where(
    USERS.c.email_key == bindparam("email_key"), OPEN
)
_NEWEST = (
    select(*USER.columns)
    .where(OPEN)
    .order_by(USERS.c.id.desc())
    .limit(bindparam("limit", type_=USERS.c.id.type))
)
_BEFORE = _NEWEST.where(USERS.c.id < bindparam("before"))
_PREFIX = func.substr(USERS.c.password_hash, 1, bindparam("length", type_=Integer))
_PASSWORD_PREFIXES = (
    select(_PREFIX, func.count())
    .where(USERS.c.password_hash != "")
    .group_by(literal_column("1"))  # by the first column
)
_ADMINS_WITHOUT_FACTOR = select(func.count()).where(
    USERS.c.role == Role.ADMIN.value, USERS.c.is_active, USERS.c.second_factor_since.is_(None)
)
_LOCK = (
    select(USERS.c.password_hash, *USER.columns)
    .where(USERS.c.id == bindparam("id"), OPEN)
    .with_for_update()
)
_LOCK_BY_EMAIL = _BY_EMAIL.with_for_update()
_SAVE = USER.update.values(email_key=bindparam("email_key"))
_CHANGE_PASSWORD = (
    update(USERS)
    .values(password_hash=bindparam("new_hash"))
    .where(USERS.c.id == bindparam("key"), USERS.c.password_hash == bindparam("current_hash"))
    .returning(USERS.c.id)
)
COUNT_WRITE = (
    update(USERS).values(writes=USERS.c.writes + 1).where(USERS.c.id == bindparam("author"))
)
_CLOSE = (
    update(USERS)
    .values(
        is_closed=True,
        is_active=False,  # so that none of their tokens is valid
        role=Role.MEMBER.value,
        email="",
        email_key=bindparam("no_key"),
        pending_email=None,
        second_factor_since=None,
        name=None,
        password_hash="",  # which no password has
    )
    .where(USERS.c.id == bindparam("key"))
)
# What could lead to the user again. These modules import this one.
_TABLES_OF_WAYS_IN = (
    "identities",
    "one_time_codes",
    "passkeys",
    "passkey_challenges",
    "totp",
    "recovery_codes",
    "login_challenges",
)
_WAYS_IN = [
    delete(rows).where(rows.c.user_id == bindparam("owner", type_=BigId))
    for rows in (sql_table(name, column("user_id")) for name in _TABLES_OF_WAYS_IN)
]
VOTES_AT_ONCE = 1000  # posts only
"""More are counted until `purge.remove_closed_accounts` has deleted them."""
_VOTES = sql_table("votes", column("post_id"), column("user_id"))  # posts only
_THEIR_VOTES = _VOTES.c.user_id == bindparam("owner", type_=BigId)  # posts only
_SOME_VOTES = select(_VOTES.c.post_id).where(_THEIR_VOTES).limit(VOTES_AT_ONCE)  # posts only
_WITHDRAW = delete(_VOTES).where(_THEIR_VOTES, _VOTES.c.post_id.in_(_SOME_VOTES))  # posts only
_ADMINS = (
    select(USERS.c.id)
    .where(USERS.c.role == Role.ADMIN.value, USERS.c.is_active)
    .order_by(USERS.c.id)
    .with_for_update()
)


async def user(database: Database, user_id: UserId) -> User | None:
    records = await database.fetch(_BY_ID, id=user_id)
    return USER.of(records[0]) if records else None


async def password_prefixes(database: Database, length: int) -> dict[str, int]:
    """The first `length` characters of stored password hashes, with their numbers."""
    records = await database.fetch_long(_PASSWORD_PREFIXES, length=length)
    return {prefix: int(count) for prefix, count in records}


async def admins_without_factor(database: Database) -> int:
    """The number of active admins without a second factor."""
    ((count,),) = await database.fetch(_ADMINS_WITHOUT_FACTOR)
    return int(count)


async def users(database: Database, limit: int, after: tuple[int, ...] | None) -> Page[User]:
    if after is None:
        records = await database.fetch_long(_NEWEST, limit=limit + 1)
    elif len(after) == 1:
        records = await database.fetch_long(_BEFORE, limit=limit + 1, before=after[0])
    else:
        raise InvalidCursor
    items = [USER.of(record) for record in records[:limit]]
    return Page(items, next=(items[-1].id,) if len(records) > limit else None)


async def credentials(database: Database, email: str) -> Credentials | None:
    key = email_key(email)
    if not _is_storable(key):
        return None
    records = await database.fetch(_BY_EMAIL, email_key=key)
    if not records:
        return None
    return _credentials_of(records[0])


def _credentials_of(record: Record) -> Credentials:
    password_hash, *columns = record
    return Credentials(user=USER.of(columns), password=PasswordHash(password_hash))


def _is_storable(key: str) -> bool:
    """False for text that no address has and that databases refuse as a parameter, such as NUL."""
    return key.isprintable()


class SqlUsers(Users):
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def add(self, user: NewUser, password: PasswordHash) -> User:
        values = USER.values(user.stored_as(0)) | {"email_key": email_key(user.email)}
        ((user_id,),) = await self._transaction.fetch(USER.insert, **values, password_hash=password)
        return user.stored_as(user_id)

    async def get(self, user_id: UserId) -> Credentials | None:
        records = await self._transaction.fetch(_LOCK, id=user_id)
        return _credentials_of(records[0]) if records else None

    async def by_email(self, email: str) -> Credentials | None:
        key = email_key(email)
        if not _is_storable(key):
            return None
        records = await self._transaction.fetch(_LOCK_BY_EMAIL, email_key=key)
        return _credentials_of(records[0]) if records else None

    async def save(self, user: User) -> None:
        values = USER.values(user) | {"email_key": email_key(user.email)}
        await self._transaction.fetch(_SAVE, **values)

    async def change_password(
        self, user_id: UserId, *, current_hash: PasswordHash, new_hash: PasswordHash
    ) -> bool:
        changed = await self._transaction.fetch(
            _CHANGE_PASSWORD, key=user_id, current_hash=current_hash, new_hash=new_hash
        )
        return bool(changed)

    async def remove(self, user: User) -> None:
        """The same work however much is theirs: `purge.remove_closed_accounts` deletes the rest."""
        await self._transaction.fetch(_CLOSE, key=user.id, no_key=f"closed {user.id}")
        for rows in (
            *_WAYS_IN,
            _WITHDRAW,  # posts only
        ):
            await self._transaction.fetch(rows, owner=user.id)

    async def admins(self) -> list[UserId]:
        return [UserId(record[0]) for record in await self._transaction.fetch(_ADMINS)]
