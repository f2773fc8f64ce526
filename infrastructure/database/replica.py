"""Posts from a standby, for users whose own writes it has replayed.

Each write of a user increments `users.writes` in its own transaction, so the writes commit in the
order of the counter. A standby whose counter is not lower than the primary's therefore shows all of
them. Each query on the standby returns the counter from its own snapshot. The decision is in
docs/decisions/0018-replica.md.
"""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any, NoReturn

import asyncpg
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    bindparam,
    case,
    func,
    literal_column,
    select,
    true,
)
from sqlalchemy import cast as cast_to

from application.outages import DatabaseBusy, DatabaseUnavailable
from application.ports.queries import PostDetails, PostList, PostQueries, Sort
from domain.errors import Unavailable
from domain.pages import Page
from domain.policies import may_read
from domain.posts import PostId
from domain.users import User
from infrastructure.database.driver.connections import DIALECT
from infrastructure.database.driver.lookups import Remote, SharedLookup
from infrastructure.database.driver.statements import Clause, Reader, Record
from infrastructure.database.post_lists import any_is_long, in_order, page_of, page_query
from infrastructure.database.posts import BY_IDS, WANTED, post_details_of
from infrastructure.database.requester import REQUESTER
from infrastructure.database.users import USERS

LOOK_EVERY = 1.0
"""Seconds between two probes of the standby."""

LAG_MAX = 5
"""Probes. A standby is read from only if it has replayed what the primary had written so many
probes ago.
"""

_STEADY = 60  # probes; a standby that fails sooner after its return is left out for longer
_AWAY_MAX = 32  # probes

_START: ColumnElement[str] = literal_column("'0/0'")
# Positions in the write-ahead log, in bytes.
_WRITTEN = select(cast_to(func.pg_wal_lsn_diff(func.pg_current_wal_lsn(), _START), BigInteger))
_REPLAYED = select(
    case(
        (
            func.pg_is_in_recovery(),
            cast_to(func.pg_wal_lsn_diff(func.pg_last_wal_replay_lsn(), _START), BigInteger),
        )
    )
)

_VIEWERS = USERS.alias("viewers")
# The standby has replayed no write of a user that it does not have.
_SEEN_WRITES = func.coalesce(_VIEWERS.c.writes, 0).label("seen_writes")
_BY_IDS = (
    BY_IDS.outerjoin(_VIEWERS, _VIEWERS.c.id == WANTED.c.viewer_id)
    .with_only_columns(*list(BY_IDS.selected_columns)[:2], _SEEN_WRITES)
    .add_columns(*list(BY_IDS.selected_columns)[2:])
)

log = logging.getLogger("gatepost.replica")


class Replica:
    """Reads from `standby` while it is healthy. `watch` probes it once a second, and the first
    failure ends its use until the next probe. A read may take half of the time of a call, which
    leaves the other half for the primary.
    """

    def __init__(self, standby: Remote, primary: Reader) -> None:
        self._standby = standby
        self.timeout = standby.timeout
        self._primary = primary
        self._positions: deque[int] = deque(maxlen=LAG_MAX)
        self._serves = False
        self._said = False
        self._looks = 0
        """Probes passed in a row."""
        self._looks_needed = 1
        """Probes to pass in a row before the standby is read from."""

    async def watch(self) -> NoReturn:
        """Probe the standby until cancelled. It is not read from before the first probe."""
        while True:
            try:
                await self.look()
            except Exception:
                log.exception("the probe of the replica failed")
                self._leave("it could not be probed")
            await asyncio.sleep(LOOK_EVERY)

    async def close(self) -> None:
        await self._standby.close()

    async def fetch_shared(self, clause: Clause, **values: Any) -> Sequence[Record]:
        """Read from the standby. Raises `Unavailable` when the caller has to ask the primary:
        immediately while the standby is not in use.

        A timeout because the standby is busy does not end its use.
        """
        if not self._serves:
            raise DatabaseUnavailable
        try:
            return await self._standby.fetch_shared(clause, **values)
        except DatabaseBusy:
            raise
        except (DatabaseUnavailable, asyncpg.PostgresError) as error:
            self._leave(_name_of(error))
            raise DatabaseUnavailable from error

    async def look(self) -> None:
        """Probe the standby once: whether it answers, and its lag."""
        try:
            ((position,),) = await self._primary.fetch(_WRITTEN)
        except Unavailable:
            return  # no request can be authenticated without the primary
        self._positions.append(position)
        trouble = await self._trouble()
        if trouble:
            self._leave(trouble)
            return
        self._looks += 1
        if not self._serves and self._looks >= self._looks_needed:
            self._serves, self._said = True, False
            log.info("posts are read from the replica")

    async def _trouble(self) -> str | None:
        try:
            ((position,),) = await self._standby.fetch_shared(_REPLAYED)
        except (Unavailable, asyncpg.PostgresError) as error:
            return _name_of(error)
        if position is None:
            return "it is no standby"
        if position < self._positions[0]:
            return f"it is more than {LAG_MAX * LOOK_EVERY:g} seconds behind"
        return None

    def _leave(self, trouble: str) -> None:
        if self._serves:
            soon = self._looks < self._looks_needed + _STEADY
            self._looks_needed = min(2 * self._looks_needed, _AWAY_MAX) if soon else 1
        self._serves, self._looks = False, 0
        if not self._said:
            self._said = True
            log.warning("posts are read from the primary, not from the replica: %s", trouble)


def _name_of(error: BaseException) -> str:
    return type(error.__cause__ or error).__name__


class ReplicaPosts:
    """Reads from the replica, and from `primary` when the replica might lack a write."""

    def __init__(self, replica: Replica, primary: PostQueries) -> None:
        self._replica = replica
        self._primary = primary
        self._post = SharedLookup(replica, _BY_IDS, ["id", "viewer"])

    async def post(self, post_id: PostId, viewer: User, now: datetime) -> PostDetails | None:
        try:
            record = await self._post(post_id, viewer.id)
        except Unavailable:
            record = None
        if record is not None:
            seen_writes, *columns = record
            details = post_details_of(columns, now)
            # The primary may already have a post that is missing or a draft on the standby.
            is_shown = may_read(viewer, details.post.owner_id, details.visibility, now)
            if is_shown and seen_writes >= _writes_of(viewer):
                return details
        return await self._primary.post(post_id, viewer, now)

    async def posts(self, wanted: PostList, now: datetime) -> Page[PostDetails]:
        # A page is never read from an older snapshot than the page before it, so paging never skips
        # a row: the replica answers first pages alone.
        if wanted.after is None:
            statement, values = page_query(wanted, now, DIALECT)
            try:
                records = await self._replica.fetch_shared(
                    _counted(statement, wanted.sort), **values
                )
            except Unavailable:
                records = []
            found = [columns for _, *columns in records if columns[0] is not None]
            is_fresh = bool(records) and records[0][0] >= _writes_of(wanted.viewer)
            if is_fresh and not any_is_long(found):
                return page_of(wanted, now, found)
        return await self._primary.posts(wanted, now)


def _writes_of(viewer: User) -> float:
    """How many writes of `viewer` the standby must have replayed; infinity if that is unknown."""
    requester = REQUESTER.get()
    return requester.writes if requester and requester.user_id == viewer.id else math.inf


@cache
def _counted(page: Select[Any], sort: Sort) -> Select[Any]:
    """The page with the viewer's counter of writes on the standby as first column. An empty page is
    one row: the counter and NULLs.
    """
    found = page.subquery("found")
    writes = select(USERS.c.writes).where(USERS.c.id == bindparam("viewer")).scalar_subquery()
    seen = select(func.coalesce(writes, 0).label("writes")).subquery("seen")
    page = select(seen.c.writes, *found.c).outerjoin_from(seen, found, true())
    return page.order_by(*in_order(sort, found))
