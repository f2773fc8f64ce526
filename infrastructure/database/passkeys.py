"""Passkeys and the challenges to them: rows, mappings and repositories."""

from datetime import datetime
from typing import ClassVar

from sqlalchemy import bindparam, delete, select
from sqlmodel import Field

from application.ports.passkeys import PasskeyChallenges, PasskeyQueries, PasskeyRepository
from domain.passkeys import Passkey, PasskeyChallenge, PasskeyKnown
from domain.users import User, UserId
from infrastructure.database.driver.exported import OWNER, Exported
from infrastructure.database.driver.mapping import Mapping, Repository
from infrastructure.database.driver.rows import BigId, Row, primary_key, reference, timestamp_column
from infrastructure.database.driver.statements import Database, Transaction
from infrastructure.database.users import OPEN, USER, USERS


class PasskeyRow(Row, table=True):
    __tablename__ = "passkeys"
    __table_args__ = ({"sqlite_autoincrement": True},)
    unique: ClassVar = {"uq_passkeys_credential_id": PasskeyKnown}

    id: int | None = primary_key()
    user_id: int = reference("users.id", index=True)
    name: str
    credential_id: bytes = Field(unique=True)
    public_key: bytes
    user_handle: bytes
    sign_count: int = Field(sa_type=BigId)
    backup_eligible: bool
    backed_up: bool
    created_at: datetime = timestamp_column()
    last_used_at: datetime | None = timestamp_column()


class PasskeyChallengeRow(Row, table=True):
    __tablename__ = "passkey_challenges"

    challenge_hash: str = Field(primary_key=True)
    user_id: int | None = reference("users.id", index=True)
    user_handle: bytes | None
    expires_at: datetime = timestamp_column(index=True)


PASSKEY = Mapping(PasskeyRow, Passkey)
PASSKEYS = PASSKEY.table
CHALLENGE = Mapping(PasskeyChallengeRow, PasskeyChallenge)
CHALLENGES = CHALLENGE.table

EXPORTED = (
    Exported(
        "passkeys",
        [
            PASSKEYS.c.id,
            PASSKEYS.c.name,
            PASSKEYS.c.created_at,
            PASSKEYS.c.last_used_at,
            PASSKEYS.c.backed_up,
        ],
        owned=PASSKEYS.c.user_id == OWNER,
        key=PASSKEYS.c.id,
    ),
)

_OF_USER = (
    select(*PASSKEY.columns).where(PASSKEYS.c.user_id == bindparam("owner")).order_by(PASSKEYS.c.id)
)
_OWNER = (
    select(*USER.columns)
    .join(PASSKEYS, PASSKEYS.c.user_id == USERS.c.id)
    .where(PASSKEYS.c.credential_id == bindparam("credential_id"), OPEN)
)
_REMOVE_ALL = (
    delete(PASSKEYS).where(PASSKEYS.c.user_id == bindparam("owner")).returning(PASSKEYS.c.id)
)
_REMOVE_CHALLENGES = delete(CHALLENGES).where(CHALLENGES.c.user_id == bindparam("owner"))
_CONSUME = (
    delete(CHALLENGES)
    .where(CHALLENGES.c.challenge_hash == bindparam("used"))
    .returning(*CHALLENGE.columns)
)


class SqlPasskeyQueries(PasskeyQueries):
    def __init__(self, database: Database) -> None:
        self._database = database

    async def of_user(self, user_id: UserId) -> list[Passkey]:
        records = await self._database.fetch(_OF_USER, owner=user_id)
        return [PASSKEY.of(record) for record in records]

    async def owner(self, credential_id: bytes) -> User | None:
        records = await self._database.fetch(_OWNER, credential_id=credential_id)
        return USER.of(records[0]) if records else None


class SqlPasskeys(Repository[Passkey], PasskeyRepository):
    mapping = PASSKEY

    async def of_user(self, user_id: UserId) -> list[Passkey]:
        records = await self._transaction.fetch(_OF_USER, owner=user_id)
        return [PASSKEY.of(record) for record in records]

    async def remove_all(self, user_id: UserId) -> int:
        await self._transaction.fetch(_REMOVE_CHALLENGES, owner=user_id)
        return len(await self._transaction.fetch(_REMOVE_ALL, owner=user_id))


class SqlPasskeyChallenges(PasskeyChallenges):
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def add(self, challenge: PasskeyChallenge) -> None:
        self._transaction.defer(CHALLENGE.insert, **CHALLENGE.values(challenge))

    async def consume(self, challenge_hash: str) -> PasskeyChallenge | None:
        records = await self._transaction.fetch(_CONSUME, used=challenge_hash)
        return CHALLENGE.of(records[0]) if records else None
