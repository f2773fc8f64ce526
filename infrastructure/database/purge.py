"""What is over for good, deleted a few rows at a time.

Each statement reads and locks some thousand rows at most, and is a transaction of its own: nobody
waits for long, however much there is to delete. Rows that somebody else has locked are left for the
next time, so any number of processes may do this at once.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NoReturn

from sqlalchemy import Select, Table, and_, bindparam, delete, func, select, tuple_
from sqlalchemy.sql.dml import ReturningDelete

from domain.errors import Unavailable
from domain.events import AUDIT_DAYS
from domain.idempotency import LIFE
from domain.sessions import KNOWN
from infrastructure.database.driver.rows import BigId, Instant
from infrastructure.database.driver.statements import Database
from infrastructure.database.events import EVENTS
from infrastructure.database.external_identities import ENDED_IDENTITIES
from infrastructure.database.idempotency import IDEMPOTENCY_KEYS
from infrastructure.database.one_time_codes import CODES
from infrastructure.database.posts import POSTS
from infrastructure.database.sessions import ROTATED_TOKENS, SESSIONS
from infrastructure.database.users import USERS
from infrastructure.database.votes import VOTES

log = logging.getLogger("gatepost.purge")

ACCOUNT_BATCH = 100
"""Rows a statement of a closed account: a post takes its text and its place in the search along."""

ACCOUNTS_PAUSE = 10.0
"""Seconds between two looks for accounts that were closed."""

BATCH = 2000
"""Rows a statement."""

GRACE = timedelta(hours=1)
"""For so long a thing must have been over: machines' clocks differ, and a request that began in its
time may be under way still."""


@dataclass(slots=True)
class Purged:
    """How many rows were deleted. Opaque access tokens go with their sessions, uncounted."""

    sessions: int = 0
    spent_refresh_tokens: int = 0
    codes: int = 0
    idempotency_keys: int = 0
    events: int = 0
    ended_identities: int = 0
    accounts: int = 0
    """Accounts that were closed and are empty now."""


_BATCH = bindparam("batch", type_=BigId)
_AFTER = bindparam("after", type_=BigId)
_UPTO = bindparam("upto", type_=BigId)
_OVER_SINCE = bindparam("over_since", type_=Instant)

# The tables are walked along their primary keys, so that no index has to be kept for this.
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
    for table in (SESSIONS, CODES, EVENTS)
}
_SESSION_IS_OVER = and_(
    SESSIONS.c.id > _AFTER,
    SESSIONS.c.id <= _UPTO,
    SESSIONS.c.expires_at <= _OVER_SINCE,
    SESSIONS.c.last_used_at <= bindparam("unused_since", type_=Instant),
)
_SPENT = (
    delete(ROTATED_TOKENS)
    .where(
        ROTATED_TOKENS.c.hash.in_(
            select(ROTATED_TOKENS.c.hash)
            .join(SESSIONS, SESSIONS.c.id == ROTATED_TOKENS.c.session_id)
            .where(_SESSION_IS_OVER)
            .limit(_BATCH)
            .with_for_update(of=ROTATED_TOKENS, skip_locked=True)
        )
    )
    .returning(ROTATED_TOKENS.c.hash)
)
_SESSIONS = (
    delete(SESSIONS)
    .where(
        SESSIONS.c.id.in_(
            select(SESSIONS.c.id).where(_SESSION_IS_OVER).with_for_update(skip_locked=True)
        )
    )
    .returning(SESSIONS.c.id)
)
_CODES = (
    delete(CODES)
    .where(
        CODES.c.id.in_(
            select(CODES.c.id)
            .where(CODES.c.id > _AFTER, CODES.c.id <= _UPTO, CODES.c.expires_at <= _OVER_SINCE)
            .with_for_update(skip_locked=True)
        )
    )
    .returning(CODES.c.id)
)
_IDEMPOTENCY_KEYS = (
    delete(IDEMPOTENCY_KEYS)
    .where(
        tuple_(IDEMPOTENCY_KEYS.c.user_id, IDEMPOTENCY_KEYS.c.key).in_(
            select(IDEMPOTENCY_KEYS.c.user_id, IDEMPOTENCY_KEYS.c.key)
            .where(IDEMPOTENCY_KEYS.c.at <= _OVER_SINCE)
            .order_by(IDEMPOTENCY_KEYS.c.at)
            .limit(_BATCH)
            .with_for_update(skip_locked=True)
        )
    )
    .returning(IDEMPOTENCY_KEYS.c.key)
)


_EVENTS = (
    delete(EVENTS)
    .where(
        EVENTS.c.id.in_(
            select(EVENTS.c.id)
            .where(EVENTS.c.id > _AFTER, EVENTS.c.id <= _UPTO, EVENTS.c.at <= _OVER_SINCE)
            .with_for_update(skip_locked=True)
        )
    )
    .returning(EVENTS.c.id)
)


_ENDED_IDENTITIES = (
    delete(ENDED_IDENTITIES)
    .where(ENDED_IDENTITIES.c.ended_at <= _OVER_SINCE)
    .returning(ENDED_IDENTITIES.c.key_hash)
)
ENDED_IDENTITY_LIFE = timedelta(days=31)
"""Longer than access tokens of any provider live, as far as is known."""

_OWNER = bindparam("owner", type_=BigId)
_NEXT_CLOSED = (
    select(USERS.c.id).where(USERS.c.is_closed, USERS.c.id > _AFTER).order_by(USERS.c.id).limit(1)
)


def _batch_of(table: Table, rows: Select[Any]) -> ReturningDelete[Any]:
    """Deletes rows of `table` that `rows` selects by the primary key, a batch at a time."""
    key = table.primary_key.columns
    batch = rows.with_only_columns(*key).limit(_BATCH).with_for_update(of=table, skip_locked=True)
    return delete(table).where(tuple_(*key).in_(batch)).returning(*key)


# In this order, so that no row takes many others along.
_BELONGINGS = (
    _batch_of(VOTES, select(VOTES).where(VOTES.c.user_id == _OWNER)),
    _batch_of(
        VOTES,
        select(VOTES).join(POSTS, POSTS.c.id == VOTES.c.post_id).where(POSTS.c.owner_id == _OWNER),
    ),
    _batch_of(POSTS, select(POSTS).where(POSTS.c.owner_id == _OWNER)),
    _batch_of(
        IDEMPOTENCY_KEYS, select(IDEMPOTENCY_KEYS).where(IDEMPOTENCY_KEYS.c.user_id == _OWNER)
    ),
    _batch_of(
        ROTATED_TOKENS,
        select(ROTATED_TOKENS)
        .join(SESSIONS, SESSIONS.c.id == ROTATED_TOKENS.c.session_id)
        .where(SESSIONS.c.user_id == _OWNER),
    ),
    _batch_of(SESSIONS, select(SESSIONS).where(SESSIONS.c.user_id == _OWNER)),
)
_ACCOUNT = delete(USERS).where(USERS.c.id == _OWNER, USERS.c.is_closed).returning(USERS.c.id)


async def remove_closed_accounts(database: Database, *, batch: int = ACCOUNT_BATCH) -> int:
    """Delete what belonged to users who were removed, and their accounts; how many there were."""
    removed = after = 0
    while found := await database.fetch_long(_NEXT_CLOSED, after=after):
        after = found[0][0]
        for statement in _BELONGINGS:
            await _delete_all(database, statement, owner=after, batch=batch)
        removed += await _delete(database, _ACCOUNT, owner=after)
    return removed


async def remove_closed_accounts_forever(database: Database) -> NoReturn:
    """Beside a service, until cancelled. Any number of processes may do so at the same time."""
    while True:
        try:
            await remove_closed_accounts(database)
        except Unavailable:
            pass  # it says so elsewhere
        except Exception:
            log.exception("closed accounts were not removed")
        await asyncio.sleep(ACCOUNTS_PAUSE)


async def purge(
    database: Database, now: datetime, *, audit_days: int = AUDIT_DAYS, batch: int = BATCH
) -> Purged:
    """Delete what is over at `now`, no more than `batch` rows a statement:

    - sessions that have expired and were last used longer ago than `domain.sessions.KNOWN`, with
      their tokens. One that was revoked is kept until then too;
    - one-time codes that have expired; a code that was used is gone already, and so is a mail
      that was sent;
    - first answers to requests that came with an idempotency key, when they are older than
      `domain.idempotency.LIFE`;
    - events of the audit that are older than `audit_days`;
    - identities at a provider whose user deleted the account, after `ENDED_IDENTITY_LIFE`;
    - accounts that were closed, with all that belonged to them.
    """
    purged = Purged()
    over_since = now - GRACE
    async for ids in _walk(database, SESSIONS, batch):
        over = {**ids, "over_since": over_since, "unused_since": now - KNOWN, "batch": batch}
        # By themselves: there may be thousands to a session.
        purged.spent_refresh_tokens += await _delete_all(database, _SPENT, **over)
        purged.sessions += await _delete(database, _SESSIONS, **over)
    async for ids in _walk(database, CODES, batch):
        purged.codes += await _delete(database, _CODES, **ids, over_since=over_since)
    purged.idempotency_keys = await _delete_all(
        database, _IDEMPOTENCY_KEYS, over_since=over_since - LIFE, batch=batch
    )
    events_over_since = over_since - timedelta(days=audit_days)
    async for ids in _walk(database, EVENTS, batch):
        deleted = await _delete(database, _EVENTS, **ids, over_since=events_over_since)
        purged.events += deleted
        if not deleted:  # ids grow with time: whatever comes behind is younger
            break
    purged.ended_identities = await _delete(
        database, _ENDED_IDENTITIES, over_since=over_since - ENDED_IDENTITY_LIFE
    )
    purged.accounts = await remove_closed_accounts(database, batch=min(batch, ACCOUNT_BATCH))
    return purged


async def _walk(database: Database, table: Table, batch: int) -> AsyncIterator[dict[str, int]]:
    """All ids, some at a time."""
    after = 0
    while upto := (await database.fetch_long(_NEXT[table], after=after, batch=batch))[0][0]:
        yield {"after": after, "upto": upto}
        after = upto


async def _delete_all(database: Database, statement: ReturningDelete[Any], **values: Any) -> int:
    """Again and again, until there is nothing left."""
    deleted = 0
    while now_deleted := await _delete(database, statement, **values):
        deleted += now_deleted
    return deleted


async def _delete(database: Database, statement: ReturningDelete[Any], **values: Any) -> int:
    start = time.monotonic()
    async with database.transaction() as transaction:
        deleted = len(await transaction.fetch(statement, **values))
        await transaction.commit()
    # SQLite lets one write at a time, and who waits looks now and then: leave them a gap.
    await asyncio.sleep(time.monotonic() - start)
    return deleted
