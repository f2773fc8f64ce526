"""First answers to requests with an Idempotency-Key: row, mapping and repository."""

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
from infrastructure.database.driver.rows import Row, reference, table, timestamp_column
from infrastructure.database.driver.statements import Transaction
from infrastructure.database.posts import SqlPosts


class KeptRow(Row, table=True):
    __tablename__ = "idempotency_keys"

    user_id: int = reference("users.id", primary_key=True)
    key: str = Field(primary_key=True)
    asked: str
    answer: str
    at: datetime = timestamp_column(index=True)


KEPT = table(KeptRow)

_ANSWER = TypeAdapter(PostDetails)
"""JSON in UTF-8: next to nothing but the post's own text, where ASCII escapes take twelve bytes for
an emoji."""


class _TryLock(FunctionElement[bool]):
    """Whether this transaction is the one that has the lock with a number, until it ends."""

    inherit_cache = True
    type = Boolean()


@compiles(_TryLock, "postgresql")
def _on_postgresql(element: _TryLock, compiler: Any, **options: Any) -> str:
    return f"pg_try_advisory_xact_lock({compiler.process(element.clauses, **options)})"


@compiles(_TryLock, "sqlite")
def _on_sqlite(_element: _TryLock, _compiler: Any, **_options: Any) -> str:
    return "1"  # One transaction writes at a time: who comes second has waited already.


_LOCK = select(_TryLock(bindparam("number", type_=BigInteger)))
# After the lock and not with it: a statement sees what was committed before it began.
_GET = select(KEPT.c.asked, KEPT.c.answer, KEPT.c.at).where(
    KEPT.c.user_id == bindparam("user_id"),
    KEPT.c.key == bindparam("key"),
    KEPT.c.at > bindparam("since"),
)
# In the place of one that has expired.
_KEEP = insert(KEPT).values({column: bindparam(column.name) for column in KEPT.c})
_KEEP = _KEEP.on_conflict_do_update(
    index_elements=[KEPT.c.user_id, KEPT.c.key],
    set_={name: _KEEP.excluded[name] for name in ("asked", "answer", "at")},
)


class SqlIdempotency(Idempotency):
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def claim(self, user_id: UserId, key: str, since: datetime) -> IdempotencyRecord | None:
        digest = blake2b(f"{user_id} {key}".encode(), digest_size=8).digest()
        ((has_it,),) = await self._transaction.fetch(
            _LOCK, number=int.from_bytes(digest, signed=True)
        )
        if not has_it:
            raise IdempotencyKeyInUse
        records = await self._transaction.fetch(_GET, user_id=user_id, key=key, since=since)
        if not records:
            return None
        asked, text, at = records[0]
        answer = await self._answer_of(text, user_id, at)
        return IdempotencyRecord(user_id=user_id, key=key, asked=asked, answer=answer, at=at)

    async def save(self, kept: IdempotencyRecord) -> None:
        self._transaction.defer(
            _KEEP,
            user_id=kept.user_id,
            key=kept.key,
            asked=kept.asked,
            answer=_ANSWER.dump_json(kept.answer).decode(),
            at=kept.at,
        )

    async def _answer_of(self, text: str, user_id: UserId, at: datetime) -> PostDetails:
        """The answer that was stored as `text`.

        An older release has stored the fields that it knew. Those that were added since are taken
        from the post as it is now. Raises `AlreadyGone` when there is no such post any more.
        """
        try:
            return _ANSWER.validate_json(text)
        except ValidationError:
            stored = json.loads(text)
        post = stored["post"]
        current = await SqlPosts(self._transaction).details(PostId(post["id"]), user_id, at)
        if current is None:
            raise AlreadyGone
        if not isinstance(post.get("content"), dict):
            post["content"] = dict(post)  # the first releases stored the content flat
        return _ANSWER.validate_python(_completed(stored, asdict(current)))


def _completed(stored: dict[str, Any], current: dict[str, Any]) -> dict[str, Any]:
    both = {name: stored[name] for name in stored.keys() & current.keys()}
    for name, value in both.items():
        if isinstance(value, dict):
            both[name] = _completed(value, current[name])
    return current | both
