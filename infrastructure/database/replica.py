"""Posts from a standby, for whoever changed nothing that it has not seen yet.

Each of a user's writes counts `users.writes` up, in its own transaction: their commits are in the
order of the count. So a standby whose count is not lower than the primary's shows them all, and its
answer brings the count along, from the same snapshot. docs/decisions/0018-replica.md has the rest.
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

from application.ports.queries import PostDetails, PostList, PostQueries, Sort
from domain.errors import Unavailable
from domain.pages import Page
from domain.policies import may_read
from domain.posts import PostId
from domain.users import User
from infrastructure.database.driver.connections import DIALECT
from infrastructure.database.driver.lookups import Remote, SharedLookup
from infrastructure.database.driver.statements import (
    Clause,
    DatabaseBusy,
    DatabaseUnavailable,
    Reader,
    Record,
)
from infrastructure.database.post_lists import any_is_long, in_order, page_of, page_query
from infrastructure.database.posts import BY_IDS, WANTED, post_details_of
from infrastructure.database.requester import REQUESTER
from infrastructure.database.users import USERS

LOOK_EVERY = 1.0
"""Seconds between two looks at the standby."""

LAG_MAX = 5
"""Looks: what the primary had so long ago, a standby that is read from has too."""

_STEADY = 60  # looks: who fails sooner than that after coming back stays away for longer
_AWAY_MAX = 32  # looks

_START: ColumnElement[str] = literal_column("'0/0'")
# Positions in the log of changes, in bytes.
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
# Of a user that the standby does not know it has seen no write.
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
        """How many it has passed in a row."""
        self._looks_needed = 1
        """To be read from."""

    async def watch(self) -> NoReturn:
        """Look at it until cancelled; before the first look it is not read from."""
        while True:
            try:
                await self.look()
            except Exception:
                log.exception("looking at the replica failed")
                self._leave("it could not be looked at")
            await asyncio.sleep(LOOK_EVERY)

    async def close(self) -> None:
        await self._standby.close()

    async def fetch_shared(self, clause: Clause, **values: Any) -> Sequence[Record]:
        """Raises `Unavailable` if the primary has to be asked instead, at once while the standby is
        not in use. One read that was too slow for a busy standby does not end its use.
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
        """See whether the standby is well, and how far behind."""
        try:
            ((position,),) = await self._primary.fetch(_WRITTEN)
        except Unavailable:
            return  # then nobody can be asked who it is that reads
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
    """Reads from `primary` whatever the replica cannot answer with certainty."""

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
            # A post that is missing or hidden here may have been written or published by now.
            is_shown = may_read(viewer, details.post.owner_id, details.visibility, now)
            if is_shown and seen_writes >= _writes_of(viewer):
                return details
        return await self._primary.post(post_id, viewer, now)

    async def posts(self, wanted: PostList, now: datetime) -> Page[PostDetails]:
        # Behind a page of the primary's, an older state might lack posts. The other way round it
        # is well, so the first page alone is the replica's.
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
    """How many writes the standby must have seen for `viewer`; without bound where nobody knows."""
    requester = REQUESTER.get()
    return requester.writes if requester and requester.user_id == viewer.id else math.inf


@cache
def _counted(page: Select[Any], sort: Sort) -> Select[Any]:
    """The page, with the number of the viewer's writes on the standby ahead of each row. An empty
    page is one row of that number and NULLs.
    """
    found = page.subquery("found")
    writes = select(USERS.c.writes).where(USERS.c.id == bindparam("viewer")).scalar_subquery()
    seen = select(func.coalesce(writes, 0).label("writes")).subquery("seen")
    page = select(seen.c.writes, *found.c).outerjoin_from(seen, found, true())
    return page.order_by(*in_order(sort, found))
