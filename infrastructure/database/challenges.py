"""Challenges of logins: row and repository."""

from datetime import datetime

from sqlalchemy import bindparam, delete, update
from sqlmodel import Field

from application.ports.challenges import ChallengeRepository
from domain.challenges import TRIES_MAX, LoginChallenge
from infrastructure.database.driver.mapping import Mapping
from infrastructure.database.driver.rows import (
    Instant,
    Row,
    reference,
    server_default,
    timestamp_column,
)
from infrastructure.database.driver.statements import Transaction


class LoginChallengeRow(Row, table=True):
    __tablename__ = "login_challenges"

    token_hash: str = Field(primary_key=True)
    user_id: int = reference("users.id", index=True)
    password_mark: str
    created_at: datetime = timestamp_column()
    expires_at: datetime = timestamp_column(index=True)
    tries: int = server_default("0")


CHALLENGE = Mapping(LoginChallengeRow, LoginChallenge)
CHALLENGES = CHALLENGE.table

_HIT = (
    update(CHALLENGES)
    .values(tries=CHALLENGES.c.tries + 1)
    .where(
        CHALLENGES.c.token_hash == bindparam("key"),
        CHALLENGES.c.expires_at > bindparam("now", type_=Instant),
        CHALLENGES.c.tries < TRIES_MAX,
    )
    .returning(*CHALLENGE.columns)
)
_CONSUME = (
    delete(CHALLENGES)
    .where(CHALLENGES.c.token_hash == bindparam("key"))
    .returning(CHALLENGES.c.token_hash)
)


class SqlChallenges(ChallengeRepository):
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def add(self, challenge: LoginChallenge) -> None:
        self._transaction.defer(CHALLENGE.insert, **CHALLENGE.values(challenge))

    async def hit(self, token_hash: str, now: datetime) -> LoginChallenge | None:
        records = await self._transaction.fetch(_HIT, key=token_hash, now=now)
        return CHALLENGE.of(records[0]) if records else None

    async def consume(self, token_hash: str) -> bool:
        return bool(await self._transaction.fetch(_CONSUME, key=token_hash))
