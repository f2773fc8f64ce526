"""Personal tokens: row, mapping, reads and repository."""

from datetime import datetime
from typing import Any

from sqlalchemy import String, and_, any_, bindparam, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Field

from application.ports.personal_tokens import PersonalTokenQueries, PersonalTokens
from domain.personal_tokens import (
    TOKENS_MAX,
    USE_NOTED_EVERY,
    NewPersonalToken,
    PersonalToken,
    PersonalTokenId,
)
from domain.scopes import Scope
from domain.users import User, UserId
from infrastructure.database.driver.exported import OWNER, Exported
from infrastructure.database.driver.lookups import lookup
from infrastructure.database.driver.mapping import Mapping
from infrastructure.database.driver.rows import (
    Instant,
    Row,
    Words,
    primary_key,
    reference,
    timestamp_column,
)
from infrastructure.database.driver.statements import Database, Transaction
from infrastructure.database.requester import REQUESTER, Requester
from infrastructure.database.users import OPEN, USER, USERS


class PersonalTokenRow(Row, table=True):
    __tablename__ = "personal_tokens"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: int | None = primary_key()
    user_id: int = reference("users.id", index=True)
    name: str
    scopes: Any = Field(sa_type=Words(Scope))
    created_at: datetime = timestamp_column()
    expires_at: datetime = timestamp_column()
    last_used_at: datetime | None = timestamp_column()
    token_hash: str = Field(unique=True)


PERSONAL_TOKEN = Mapping(PersonalTokenRow, PersonalToken)
PERSONAL_TOKENS = PERSONAL_TOKEN.table
EXPORTED = (
    Exported(
        "personal_tokens",
        list(PERSONAL_TOKEN.columns),
        owned=PERSONAL_TOKENS.c.user_id == OWNER,
        key=PERSONAL_TOKENS.c.id,
    ),
)

_TOKEN_USER = select(*PERSONAL_TOKEN.columns, *USER.columns, USERS.c.writes).join(
    USERS, and_(USERS.c.id == PERSONAL_TOKENS.c.user_id, OPEN)
)
_BY_HASH = _TOKEN_USER.where(PERSONAL_TOKENS.c.token_hash == bindparam("hash"))
_BY_HASHES = _TOKEN_USER.where(
    PERSONAL_TOKENS.c.token_hash == any_(bindparam("hash", type_=ARRAY(String)))
)
_BY_HASHES = _BY_HASHES.with_only_columns(
    PERSONAL_TOKENS.c.token_hash.label("key"), *_BY_HASHES.selected_columns
)

_OF_USER = (
    PERSONAL_TOKENS.c.user_id == bindparam("owner"),
    PERSONAL_TOKENS.c.expires_at > bindparam("now", type_=Instant),
)
_COUNT = select(func.count()).select_from(PERSONAL_TOKENS).where(*_OF_USER)
_LIST = (
    select(*PERSONAL_TOKEN.columns)
    .where(*_OF_USER)
    .order_by(PERSONAL_TOKENS.c.id.desc())
    .limit(TOKENS_MAX)
)
_DELETE = delete(PERSONAL_TOKENS).returning(PERSONAL_TOKENS.c.id)
_DELETE_ONE = _DELETE.where(
    PERSONAL_TOKENS.c.id == bindparam("key"), PERSONAL_TOKENS.c.user_id == bindparam("owner")
)
_DELETE_ALL = _DELETE.where(PERSONAL_TOKENS.c.user_id == bindparam("owner"))
_NOTE_USE = (
    update(PERSONAL_TOKENS)
    .values(last_used_at=bindparam("at", type_=Instant))
    .where(
        PERSONAL_TOKENS.c.id == bindparam("key"),
        or_(
            PERSONAL_TOKENS.c.last_used_at.is_(None),
            PERSONAL_TOKENS.c.last_used_at <= bindparam("before", type_=Instant),
        ),
    )
    .returning(PERSONAL_TOKENS.c.id)
)


class SqlPersonalTokenQueries(PersonalTokenQueries):
    def __init__(self, database: Database) -> None:
        self._database = database
        self._find = lookup(database, one=_BY_HASH, many=_BY_HASHES, key=["hash"])

    async def tokens(self, user_id: UserId, now: datetime) -> list[PersonalToken]:
        records = await self._database.fetch_long(_LIST, reader=user_id, owner=user_id, now=now)
        return [PERSONAL_TOKEN.of(record) for record in records]

    async def token_user(self, token_hash: str) -> tuple[PersonalToken, User] | None:
        record = await self._find(token_hash)
        if record is None:
            return None
        user = USER.of(record[len(PERSONAL_TOKEN.columns) :])
        REQUESTER.set(Requester(user.id, record[-1]))
        return PERSONAL_TOKEN.of(record), user


class SqlPersonalTokens(PersonalTokens):
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def add(self, token: NewPersonalToken) -> PersonalToken:
        values = PERSONAL_TOKEN.values(token.stored_as(0)) | {"token_hash": token.token_hash}
        del values["id"]
        insert = PERSONAL_TOKEN.insert_numbered
        return token.stored_as(await self._transaction.add(insert, **values))

    async def count(self, user_id: UserId, now: datetime) -> int:
        ((number,),) = await self._transaction.fetch(_COUNT, owner=user_id, now=now)
        return int(number)

    async def delete(self, token_id: PersonalTokenId, user_id: UserId) -> bool:
        return bool(await self._transaction.fetch(_DELETE_ONE, key=token_id, owner=user_id))

    async def delete_all(self, user_id: UserId) -> int:
        return len(await self._transaction.fetch(_DELETE_ALL, owner=user_id))

    async def note_use(self, token_id: PersonalTokenId, at: datetime) -> None:
        await self._transaction.fetch(_NOTE_USE, key=token_id, at=at, before=at - USE_NOTED_EVERY)
