"""Idempotency records: row, mapping and repository."""

import json
from dataclasses import asdict
from datetime import datetime
from hashlib import blake2b
from typing import Any

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import BigInteger, Boolean, bindparam, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlmodel import Field

from application.ports.idempotency import Idempotency, IdempotencyRecord
from application.ports.queries import PostDetails
from domain.errors import AlreadyGone
from domain.idempotency import IdempotencyKeyInUse
from domain.posts import PostId
from domain.users import UserId
from infrastructure.database.driver.exported import OWNER, Exported
from infrastructure.database.driver.mapping import VersionedTransaction
from infrastructure.database.driver.rows import Row, reference, table, timestamp_column
from infrastructure.database.posts import SqlPosts


class IdempotencyKeyRow(Row, table=True):
    __tablename__ = "idempotency_keys"

    user_id: int = reference("users.id", primary_key=True)
    key: str = Field(primary_key=True)
    asked: str
    answer: str
    at: datetime = timestamp_column(index=True)


IDEMPOTENCY_KEYS = table(IdempotencyKeyRow)
EXPORTED = (
    Exported(
        "idempotency_keys",
        [IDEMPOTENCY_KEYS.c.key, IDEMPOTENCY_KEYS.c.answer, IDEMPOTENCY_KEYS.c.at],
        owned=IDEMPOTENCY_KEYS.c.user_id == OWNER,
        key=IDEMPOTENCY_KEYS.c.key,
    ),
)

_RESPONSE = TypeAdapter(PostDetails)
"""Writes JSON in UTF-8: ASCII escapes would take twelve bytes for an emoji."""


class _TryLock(FunctionElement[bool]):
    """Takes the lock with a number until the transaction ends. False when another one holds it."""

    inherit_cache = True
    type = Boolean()


@compiles(_TryLock, "postgresql")
def _on_postgresql(element: _TryLock, compiler: Any, **options: Any) -> str:
    return f"pg_try_advisory_xact_lock({compiler.process(element.clauses, **options)})"


@compiles(_TryLock, "sqlite")
def _on_sqlite(_element: _TryLock, _compiler: Any, **_options: Any) -> str:
    return "1"  # SQLite has one writer at a time, so the second one has waited already.


_LOCK = select(_TryLock(bindparam("number", type_=BigInteger)))
# A statement of its own, after the lock: it then sees what the lock's last holder committed.
_GET = select(IDEMPOTENCY_KEYS.c.asked, IDEMPOTENCY_KEYS.c.answer, IDEMPOTENCY_KEYS.c.at).where(
    IDEMPOTENCY_KEYS.c.user_id == bindparam("user_id"),
    IDEMPOTENCY_KEYS.c.key == bindparam("key"),
    IDEMPOTENCY_KEYS.c.at > bindparam("since"),
)
# Replaces an expired record.
_SAVE = insert(IDEMPOTENCY_KEYS).values(
    {column: bindparam(column.name) for column in IDEMPOTENCY_KEYS.c}
)
_SAVE = _SAVE.on_conflict_do_update(
    index_elements=[IDEMPOTENCY_KEYS.c.user_id, IDEMPOTENCY_KEYS.c.key],
    set_={name: _SAVE.excluded[name] for name in ("asked", "answer", "at")},
)


class SqlIdempotency(Idempotency):
    def __init__(self, transaction: VersionedTransaction) -> None:
        self._transaction = transaction

    async def claim(self, user_id: UserId, key: str, since: datetime) -> IdempotencyRecord | None:
        digest = blake2b(f"{user_id} {key}".encode(), digest_size=8).digest()
        ((has_lock,),) = await self._transaction.fetch(
            _LOCK, number=int.from_bytes(digest, signed=True)
        )
        if not has_lock:
            raise IdempotencyKeyInUse
        records = await self._transaction.fetch(_GET, user_id=user_id, key=key, since=since)
        if not records:
            return None
        request_hash, text, at = records[0]
        response = await self._response_of(text, user_id, at)
        return IdempotencyRecord(
            user_id=user_id, key=key, request_hash=request_hash, response=response, at=at
        )

    async def save(self, record: IdempotencyRecord) -> None:
        self._transaction.defer(
            _SAVE,
            user_id=record.user_id,
            key=record.key,
            asked=record.request_hash,
            answer=_RESPONSE.dump_json(record.response).decode(),
            at=record.at,
        )

    async def _response_of(self, text: str, user_id: UserId, at: datetime) -> PostDetails:
        """The response that was stored as `text`.

        An older release stored only the fields that it had. Fields that were added since are taken
        from the current post. Raises `AlreadyGone` if the post was deleted.
        """
        try:
            return _RESPONSE.validate_json(text)
        except ValidationError:
            stored = json.loads(text)
        post = stored["post"]
        current = await SqlPosts(self._transaction).details(PostId(post["id"]), user_id, at)
        if current is None:
            raise AlreadyGone
        if not isinstance(post.get("content"), dict):
            post["content"] = dict(post)  # the first releases stored the content flat
        return _RESPONSE.validate_python(_completed(stored, asdict(current)))


def _completed(stored: dict[str, Any], current: dict[str, Any]) -> dict[str, Any]:
    """`stored` with the members that it lacks from `current`, at every level."""
    both = {name: stored[name] for name in stored.keys() & current.keys()}
    for name, value in both.items():
        if isinstance(value, dict):
            both[name] = _completed(value, current[name])
    return current | both
