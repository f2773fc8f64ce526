"""Deletes expired rows and closed accounts, in small batches.

Each batch is one transaction that reads and locks at most some thousand rows, so other transactions
never wait long. Rows that others have locked are skipped, so any number of processes may purge at
the same time.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, bindparam, delete, func, select, tuple_
from sqlalchemy.sql.dml import ReturningDelete

from domain.events import AUDIT_DAYS
from domain.idempotency import LIFE  # posts only
from domain.jobs import FAILED_DAYS
from domain.sessions import NETWORK_RETENTION
from domain.webhooks import DELIVERY_DAYS
from infrastructure.database.challenges import CHALLENGES
from infrastructure.database.driver.rows import BigId, Instant
from infrastructure.database.driver.statements import Database
from infrastructure.database.events import EVENTS
from infrastructure.database.external_identities import ENDED_IDENTITIES
from infrastructure.database.idempotency import IDEMPOTENCY_KEYS  # posts only
from infrastructure.database.jobs import JOBS
from infrastructure.database.one_time_codes import CODES
from infrastructure.database.passkeys import CHALLENGES as PASSKEY_CHALLENGES
from infrastructure.database.personal_tokens import PERSONAL_TOKENS
from infrastructure.database.posts import POSTS  # posts only
from infrastructure.database.sessions import ROTATED_TOKENS, SESSIONS
from infrastructure.database.users import USERS
from infrastructure.database.votes import VOTES  # posts only
from infrastructure.database.webhooks import DELIVERIES

ACCOUNT_BATCH = 100
"""Rows of a closed account for each statement."""

BATCH = 2000
"""Rows for each statement."""

GRACE = timedelta(hours=1)
"""Time after expiry before a row is deleted, for clock skew and requests in flight."""


@dataclass(slots=True)
class Purged:
    """Numbers of deleted rows. Opaque access tokens are deleted with their sessions, uncounted."""

    sessions: int = 0
    spent_refresh_tokens: int = 0
    personal_tokens: int = 0
    codes: int = 0
    passkey_challenges: int = 0
    login_challenges: int = 0
    idempotency_keys: int = 0  # posts only
    events: int = 0
    ended_identities: int = 0
    failed_jobs: int = 0
    deliveries: int = 0
    accounts: int = 0
    """Closed accounts, after everything that belonged to them."""


_BATCH = bindparam("batch", type_=BigId)
_AFTER = bindparam("after", type_=BigId)
_UPTO = bindparam("upto", type_=BigId)
_EXPIRED_BEFORE = bindparam("expired_before", type_=Instant)

# Tables are scanned in the order of their primary keys, which needs no further index.
_NEXT = {
    table: select(
        func.max(
            select(table.c.id)
            .where(table.c.id > _AFTER)
            .order_by(table.c.id)
            .limit(_BATCH)
            .subquery()
            .c.id
        )
    )
    for table in (SESSIONS, PERSONAL_TOKENS, CODES, EVENTS, DELIVERIES)
}


def _batch_of(table: Table, rows: Select[Any]) -> ReturningDelete[Any]:
    """Deletes rows of `table` that `rows` selects by the primary key, a batch at a time."""
    key = table.primary_key.columns
    batch = rows.with_only_columns(*key).limit(_BATCH).with_for_update(of=table, skip_locked=True)
    return delete(table).where(tuple_(*key).in_(batch)).returning(*key)


def _expired(table: Table, column: str) -> ReturningDelete[Any]:
    """Deletes rows whose time in `column` is over, a batch at a time."""
    return _batch_of(table, select(table).where(table.c[column] <= _EXPIRED_BEFORE))


def _in_range(table: Table, *conditions: ColumnElement[bool]) -> ReturningDelete[Any]:
    """Deletes rows that meet the conditions in a range of ids."""
    rows = select(table.c.id).where(table.c.id > _AFTER, table.c.id <= _UPTO, *conditions)
    batch = rows.with_for_update(skip_locked=True)
    return delete(table).where(table.c.id.in_(batch)).returning(table.c.id)


_SESSION_HAS_EXPIRED = (
    SESSIONS.c.expires_at <= _EXPIRED_BEFORE,
    SESSIONS.c.last_used_at <= bindparam("unused_since", type_=Instant),
)
_ROTATED = _batch_of(
    ROTATED_TOKENS,
    select(ROTATED_TOKENS)
    .join(SESSIONS, SESSIONS.c.id == ROTATED_TOKENS.c.session_id)
    .where(SESSIONS.c.id > _AFTER, SESSIONS.c.id <= _UPTO, *_SESSION_HAS_EXPIRED),
)
_SESSIONS = _in_range(SESSIONS, *_SESSION_HAS_EXPIRED)
_PERSONAL_TOKENS = _in_range(PERSONAL_TOKENS, PERSONAL_TOKENS.c.expires_at <= _EXPIRED_BEFORE)
_CODES = _in_range(CODES, CODES.c.expires_at <= _EXPIRED_BEFORE)
_EVENTS = _in_range(EVENTS, EVENTS.c.at <= _EXPIRED_BEFORE)
_DELIVERIES = _in_range(DELIVERIES, DELIVERIES.c.created_at <= _EXPIRED_BEFORE)
_PASSKEY_CHALLENGES = _expired(PASSKEY_CHALLENGES, "expires_at")
_CHALLENGES = _expired(CHALLENGES, "expires_at")
_IDEMPOTENCY_KEYS = _expired(IDEMPOTENCY_KEYS, "at")  # posts only
_ENDED_IDENTITIES = _expired(ENDED_IDENTITIES, "ended_at")
_FAILED_JOBS = _expired(JOBS, "failed_at")
ENDED_IDENTITY_LIFE = timedelta(days=31)
"""Longer than access tokens of any provider live, as far as is known."""

_OWNER = bindparam("owner", type_=BigId)
_NEXT_CLOSED = (
    select(USERS.c.id).where(USERS.c.is_closed, USERS.c.id > _AFTER).order_by(USERS.c.id).limit(1)
)

# In this order, so that deleting a row does not cascade to many others.
_BELONGING_TO_ACCOUNT = (
    _batch_of(VOTES, select(VOTES).where(VOTES.c.user_id == _OWNER)),  # posts only
    _batch_of(  # posts only
        VOTES,
        select(VOTES).join(POSTS, POSTS.c.id == VOTES.c.post_id).where(POSTS.c.owner_id == _OWNER),
    ),
    _batch_of(POSTS, select(POSTS).where(POSTS.c.owner_id == _OWNER)),  # posts only
    _batch_of(  # posts only
        IDEMPOTENCY_KEYS, select(IDEMPOTENCY_KEYS).where(IDEMPOTENCY_KEYS.c.user_id == _OWNER)
    ),
    _batch_of(
        ROTATED_TOKENS,
        select(ROTATED_TOKENS)
        .join(SESSIONS, SESSIONS.c.id == ROTATED_TOKENS.c.session_id)
        .where(SESSIONS.c.user_id == _OWNER),
    ),
    _batch_of(SESSIONS, select(SESSIONS).where(SESSIONS.c.user_id == _OWNER)),
    _batch_of(PERSONAL_TOKENS, select(PERSONAL_TOKENS).where(PERSONAL_TOKENS.c.user_id == _OWNER)),
)
_ACCOUNT = delete(USERS).where(USERS.c.id == _OWNER, USERS.c.is_closed).returning(USERS.c.id)


async def remove_closed_accounts(database: Database, *, batch: int = ACCOUNT_BATCH) -> int:
    """Delete closed accounts and all that belongs to them. Returns the number of accounts."""
    removed = after = 0
    while found := await database.fetch_long(_NEXT_CLOSED, after=after):
        after = found[0][0]
        for statement in _BELONGING_TO_ACCOUNT:
            await _delete_all(database, statement, owner=after, batch=batch)
        removed += await _delete(database, _ACCOUNT, owner=after)
    return removed


async def purge(
    database: Database, now: datetime, *, audit_days: int = AUDIT_DAYS, batch: int = BATCH
) -> Purged:
    """Delete the following, at most `batch` rows for each statement:

    - sessions that have expired, revoked ones too, and were last used longer ago than
      `domain.sessions.NETWORK_RETENTION`, with their tokens;
    - expired one-time codes and challenges (used ones and sent mails are deleted at once);
    - expired personal tokens;
    - records of idempotency keys, after their life;
    - audit events that are older than `audit_days`;
    - identities whose user deleted the account, after `ENDED_IDENTITY_LIFE`;
    - jobs that failed longer ago than `domain.jobs.FAILED_DAYS`;
    - deliveries to webhooks that are older than `domain.webhooks.DELIVERY_DAYS`;
    - closed accounts, with all that belongs to them.
    """
    purged = Purged()
    expired_before = now - GRACE
    async for ids in _walk(database, SESSIONS, batch):
        values = {
            **ids,
            "expired_before": expired_before,
            "unused_since": now - NETWORK_RETENTION,
            "batch": batch,
        }
        # In their own batches: a session may have thousands.
        purged.spent_refresh_tokens += await _delete_all(database, _ROTATED, **values)
        purged.sessions += await _delete(database, _SESSIONS, **values)
    async for ids in _walk(database, PERSONAL_TOKENS, batch):
        purged.personal_tokens += await _delete(
            database, _PERSONAL_TOKENS, **ids, expired_before=expired_before
        )
    async for ids in _walk(database, CODES, batch):
        purged.codes += await _delete(database, _CODES, **ids, expired_before=expired_before)
    purged.passkey_challenges = await _delete_all(
        database, _PASSKEY_CHALLENGES, expired_before=expired_before, batch=batch
    )
    purged.login_challenges = await _delete_all(
        database, _CHALLENGES, expired_before=expired_before, batch=batch
    )
    purged.idempotency_keys = await _delete_all(  # posts only
        database, _IDEMPOTENCY_KEYS, expired_before=expired_before - LIFE, batch=batch
    )
    purged.events = await _delete_oldest(
        database, EVENTS, _EVENTS, expired_before - timedelta(days=audit_days), batch
    )
    purged.ended_identities = await _delete_all(
        database,
        _ENDED_IDENTITIES,
        expired_before=expired_before - ENDED_IDENTITY_LIFE,
        batch=batch,
    )
    purged.failed_jobs = await _delete_all(
        database,
        _FAILED_JOBS,
        expired_before=expired_before - timedelta(days=FAILED_DAYS),
        batch=batch,
    )
    purged.deliveries = await _delete_oldest(
        database, DELIVERIES, _DELIVERIES, expired_before - timedelta(days=DELIVERY_DAYS), batch
    )
    purged.accounts = await remove_closed_accounts(database, batch=min(batch, ACCOUNT_BATCH))
    return purged


async def _walk(database: Database, table: Table, batch: int) -> AsyncIterator[dict[str, int]]:
    """Ranges of ids that cover the table, each with at most `batch` rows."""
    after = 0
    while upto := (await database.fetch_long(_NEXT[table], after=after, batch=batch))[0][0]:
        yield {"after": after, "upto": upto}
        after = upto


async def _delete_oldest(
    database: Database,
    table: Table,
    statement: ReturningDelete[Any],
    expired_before: datetime,
    batch: int,
) -> int:
    """Run `statement` on one range after the other until it deletes nothing: ids grow with time, so
    all following rows are younger.
    """
    deleted = 0
    async for ids in _walk(database, table, batch):
        now_deleted = await _delete(database, statement, **ids, expired_before=expired_before)
        if not now_deleted:
            break
        deleted += now_deleted
    return deleted


async def _delete_all(database: Database, statement: ReturningDelete[Any], **values: Any) -> int:
    """Run `statement` until it deletes nothing more."""
    deleted = 0
    while now_deleted := await _delete(database, statement, **values):
        deleted += now_deleted
    return deleted


async def _delete(database: Database, statement: ReturningDelete[Any], **values: Any) -> int:
    start = time.monotonic()
    async with database.transaction() as transaction:
        deleted = len(await transaction.fetch(statement, **values))
        await transaction.commit()
    # SQLite has one writer at a time, and waiting writers poll: the pause lets them in.
    await asyncio.sleep(time.monotonic() - start)
    return deleted
