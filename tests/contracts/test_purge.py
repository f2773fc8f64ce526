"""Purging the real databases: deleted and kept rows."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import pytest
from sqlalchemy import Table, bindparam, insert, select

from domain.events import Event
from domain.idempotency import LIFE
from domain.jobs import FAILED_DAYS
from domain.one_time_codes import Purpose
from domain.sessions import NETWORK_RETENTION, network_of
from domain.users import User
from infrastructure.database.access_tokens import ACCESS_TOKENS
from infrastructure.database.challenges import CHALLENGES
from infrastructure.database.driver.engine import open_database
from infrastructure.database.driver.statements import Clause, Database, Record, Transaction
from infrastructure.database.events import EVENTS
from infrastructure.database.external_identities import ENDED_IDENTITIES
from infrastructure.database.factors import RECOVERY_CODES, TOTPS
from infrastructure.database.idempotency import IDEMPOTENCY_KEYS
from infrastructure.database.jobs import JOBS
from infrastructure.database.one_time_codes import CODES
from infrastructure.database.personal_tokens import PERSONAL_TOKENS
from infrastructure.database.posts import POSTS
from infrastructure.database.purge import (
    ENDED_IDENTITY_LIFE,
    GRACE,
    Purged,
    purge,
    remove_closed_accounts,
)
from infrastructure.database.queries import SqlQueries
from infrastructure.database.sessions import ROTATED_TOKENS, SESSIONS
from infrastructure.database.unit_of_work import SqlStorage
from infrastructure.database.users import USERS, VOTES_AT_ONCE
from infrastructure.database.votes import VOTES
from tests.contracts.backends import SqlBackend
from tests.fakes.clock import NOON

MOMENT = timedelta(microseconds=1)
LONG_AGO = NOON - timedelta(days=365)
LAST = NOON - GRACE
"""What is over at this moment goes."""
UNUSED = NOON - NETWORK_RETENTION
IP = "192.0.2.7"


class Storeroom(SqlBackend):
    """A database, and rows to put there as they are."""

    async def change(self, *clauses: tuple[Clause, dict[str, Any]]) -> None:
        async with self.database.transaction() as transaction:
            for clause, values in clauses:
                await transaction.fetch(clause, **values)
            await transaction.commit()

    async def put(self, table: Table, *rows: dict[str, Any]) -> None:
        clause = insert(table).values({name: bindparam(name) for name in rows[0]})
        await self.change(*((clause, row) for row in rows))

    async def session(
        self, user: User, name: str, *, expired: datetime, used: datetime = LONG_AGO, **more: Any
    ) -> None:
        row = {
            "user_id": user.id,
            "created_at": LONG_AGO,
            "last_used_at": used,
            "expires_at": expired,
            "refresh_hash": name,
            "ip": IP,
            "network": network_of(IP),
        }
        await self.put(SESSIONS, row | more)

    async def token(self, user: User, name: str, *, expired: datetime) -> None:
        row = {"user_id": user.id, "name": name, "scopes": (), "token_hash": name}
        await self.put(PERSONAL_TOKENS, row | {"created_at": LONG_AGO, "expires_at": expired})

    async def values(self, column: Any) -> Sequence[Any]:
        return sorted(row[0] for row in await self.database.fetch_long(select(column)))


@pytest.fixture
async def room(database_url: str) -> AsyncIterator[Storeroom]:
    database = open_database(database_url, timeout=10)
    await database.open()
    yield Storeroom(database)
    await database.close()


@pytest.fixture
async def anna(room: Storeroom) -> User:
    return await room.add_user()


async def test_an_expired_session_that_was_long_unused_is_deleted(
    room: Storeroom, anna: User
) -> None:
    await room.session(anna, "goes", expired=LAST, used=UNUSED)
    await room.session(anna, "expired just now", expired=LAST + MOMENT, used=UNUSED)
    await room.session(anna, "used not long ago", expired=LAST, used=UNUSED + MOMENT)
    await room.session(anna, "goes on", expired=NOON + MOMENT)

    purged = await purge(room.database, NOON)

    assert purged == Purged(sessions=1)
    assert await room.values(SESSIONS.c.refresh_hash) == [
        "expired just now",
        "goes on",
        "used not long ago",
    ]


async def test_a_revoked_session_is_kept_until_it_expires(room: Storeroom, anna: User) -> None:
    await room.session(anna, "revoked", expired=NOON + MOMENT, revoked_at=LONG_AGO)
    await room.session(anna, "revoked and expired", expired=LAST, revoked_at=LONG_AGO)

    await purge(room.database, NOON)

    assert await room.values(SESSIONS.c.refresh_hash) == ["revoked"]


async def test_a_network_stays_known_for_a_month_after_short_sessions(
    room: Storeroom, anna: User
) -> None:
    await room.session(anna, "short", expired=UNUSED + timedelta(hours=2), used=UNUSED + MOMENT)
    queries = SqlQueries(room.database)

    await purge(room.database, NOON)
    assert await queries.has_logged_in_from(anna.id, network_of(IP))

    await purge(room.database, NOON + MOMENT)
    assert not await queries.has_logged_in_from(anna.id, network_of(IP))


async def test_tokens_are_deleted_only_with_their_session(room: Storeroom, anna: User) -> None:
    await room.session(anna, "goes", expired=LAST)
    await room.session(anna, "stays", expired=NOON + MOMENT)
    for id_, of in await room.database.fetch_long(select(SESSIONS.c.id, SESSIONS.c.refresh_hash)):
        rows = [{"hash": f"{of} {n}", "session_id": id_, "spent_at": LONG_AGO} for n in range(3)]
        await room.put(ROTATED_TOKENS, *rows)
        token = {"id": id_, "hash": of, "session_id": id_}
        await room.put(ACCESS_TOKENS, token | {"issued_at": LONG_AGO, "expires_at": LONG_AGO})

    purged = await purge(room.database, NOON)

    assert purged == Purged(sessions=1, spent_refresh_tokens=3)
    assert await room.values(ROTATED_TOKENS.c.hash) == ["stays 0", "stays 1", "stays 2"]
    assert await room.values(ACCESS_TOKENS.c.hash) == ["stays"]


async def test_an_expired_personal_token_is_deleted(room: Storeroom, anna: User) -> None:
    await room.token(anna, "goes", expired=LAST)
    await room.token(anna, "expired just now", expired=LAST + MOMENT)
    await room.token(anna, "good", expired=NOON + MOMENT)

    purged = await purge(room.database, NOON)

    assert purged == Purged(personal_tokens=1)
    assert await room.values(PERSONAL_TOKENS.c.token_hash) == ["expired just now", "good"]


async def test_an_expired_code_is_deleted(room: Storeroom, anna: User) -> None:
    code = {"user_id": anna.id, "purpose": "verification"}
    await room.put(
        CODES,
        code | {"code_hash": "goes", "expires_at": LAST},
        code | {"code_hash": "expired just now", "expires_at": LAST + MOMENT},
        code | {"code_hash": "good", "expires_at": NOON + MOMENT},
    )

    purged = await purge(room.database, NOON)

    assert purged == Purged(codes=1)
    assert await room.values(CODES.c.code_hash) == ["expired just now", "good"]


async def test_an_expired_challenge_is_deleted(room: Storeroom, anna: User) -> None:
    challenge = {"user_id": anna.id, "password_mark": "", "created_at": NOON}
    await room.put(
        CHALLENGES,
        challenge | {"token_hash": "goes", "expires_at": LAST},
        challenge | {"token_hash": "stays", "expires_at": LAST + MOMENT},
    )

    purged = await purge(room.database, NOON)

    assert purged == Purged(login_challenges=1)
    assert await room.values(CHALLENGES.c.token_hash) == ["stays"]


async def test_nothing_of_a_second_factor_is_left_of_a_closed_account(
    room: Storeroom, anna: User
) -> None:
    bert = await room.add_user()
    for user in (anna, bert):
        own = {"user_id": user.id, "created_at": NOON}
        await room.put(TOTPS, own | {"sealed_secret": "sealed", "last_step": 0})
        await room.put(RECOVERY_CODES, {"user_id": user.id, "code_hash": f"of {user.id}"})
        challenge = {"token_hash": f"of {user.id}", "password_mark": "", "expires_at": NOON}
        await room.put(CHALLENGES, own | challenge)

    await close(room.database, anna)

    for rows in (TOTPS, RECOVERY_CODES, CHALLENGES):
        assert await room.values(rows.c.user_id) == [bert.id]


async def test_an_expired_idempotency_key_is_deleted(room: Storeroom, anna: User) -> None:
    answer = {"user_id": anna.id, "asked": "", "answer": "{}"}
    await room.put(
        IDEMPOTENCY_KEYS,
        answer | {"key": "goes", "at": LAST - LIFE},
        answer | {"key": "stays", "at": LAST - LIFE + MOMENT},
    )

    purged = await purge(room.database, NOON)

    assert purged == Purged(idempotency_keys=1)
    assert await room.values(IDEMPOTENCY_KEYS.c.key) == ["stays"]


async def test_an_ended_identity_is_deleted_when_its_tokens_have_expired(room: Storeroom) -> None:
    ended = LAST - ENDED_IDENTITY_LIFE
    await room.put(
        ENDED_IDENTITIES,
        {"key_hash": "goes", "ended_at": ended},
        {"key_hash": "stays", "ended_at": ended + MOMENT},
    )

    purged = await purge(room.database, NOON)

    assert purged == Purged(ended_identities=1)
    assert await room.values(ENDED_IDENTITIES.c.key_hash) == ["stays"]


async def test_jobs_that_failed_are_removed_after_a_month(room: Storeroom) -> None:
    ended = NOON - timedelta(days=FAILED_DAYS) - GRACE
    job = {"kind": "a", "payload": {}, "due_at": LONG_AGO, "wanted_at": LONG_AGO}
    await room.put(
        JOBS, job | {"failed_at": ended}, job | {"kind": "stays", "failed_at": ended + MOMENT}
    )

    assert await purge(room.database, NOON) == Purged(failed_jobs=1)

    assert await room.values(JOBS.c.kind) == ["stays"]


async def test_waiting_mails_users_and_posts_are_kept(room: Storeroom, anna: User) -> None:
    await room.add_post(anna)
    async with SqlStorage(room.database)() as uow:
        await uow.outbox.add(Purpose.VERIFICATION, anna.email, LONG_AGO)
        await uow.commit()

    assert await purge(room.database, NOON) == Purged()

    assert await room.values(JOBS.c.kind) == ["mail"]
    assert await room.values(USERS.c.id) == [anna.id]


BATCH = 8
CROWD = 2 * BATCH + 1


@pytest.fixture
async def crowd(room: Storeroom, anna: User) -> None:
    """More than two batches of each kind, all tokens of one session."""
    names = [str(number) for number in range(CROWD)]
    for name in names:
        await room.session(anna, name, expired=LAST)
    (first, *_) = await room.values(SESSIONS.c.id)
    spent = {"session_id": first, "spent_at": LONG_AGO}
    await room.put(ROTATED_TOKENS, *(spent | {"hash": name} for name in names))
    code = {"user_id": anna.id, "purpose": "verification", "expires_at": LONG_AGO}
    await room.put(CODES, *(code | {"code_hash": name} for name in names))
    answer = {"user_id": anna.id, "asked": "", "answer": "{}", "at": LONG_AGO}
    await room.put(IDEMPOTENCY_KEYS, *(answer | {"key": name} for name in names))


async def all_is_gone(room: Storeroom) -> bool:
    columns = (SESSIONS.c.id, ROTATED_TOKENS.c.hash, CODES.c.id, IDEMPOTENCY_KEYS.c.key)
    return not any([await room.values(column) for column in columns])


@pytest.mark.usefixtures("crowd")
async def test_two_concurrent_purges_count_each_row_once(room: Storeroom) -> None:
    both = await asyncio.gather(*(purge(room.database, NOON, batch=BATCH) for _ in range(2)))

    assert await all_is_gone(room)
    assert sum(purged.sessions for purged in both) == CROWD
    assert sum(purged.codes for purged in both) == CROWD
    assert sum(purged.idempotency_keys for purged in both) == CROWD


class CountingTransaction:
    """Notes how many rows each of its statements returned."""

    def __init__(self, transaction: Transaction, counts: list[int]) -> None:
        self._transaction = transaction
        self._counts = counts
        self.add, self.defer = transaction.add, transaction.defer
        self.commit = transaction.commit

    async def fetch(self, clause: Clause, **values: Any) -> Sequence[Record]:
        records = await self._transaction.fetch(clause, **values)
        self._counts.append(len(records))
        return records


class CountingDatabase:
    def __init__(self, database: Database) -> None:
        self._database = database
        self.dialect = database.dialect
        self.is_remote = database.is_remote
        self.open, self.close = database.open, database.close
        self.fetch, self.fetch_long = database.fetch, database.fetch_long
        self.check, self.readings = database.check, database.readings
        self.listen = database.listen
        self.counts: list[list[int]] = []
        """Of each transaction that was begun."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[CountingTransaction]:
        self.counts.append([])
        async with self._database.transaction() as transaction:
            yield CountingTransaction(transaction, self.counts[-1])


@pytest.mark.usefixtures("crowd")
async def test_each_transaction_deletes_at_most_one_batch(room: Storeroom) -> None:
    database = CountingDatabase(room.database)

    purged = await purge(database, NOON, batch=BATCH)

    assert await all_is_gone(room)
    assert purged == Purged(
        sessions=CROWD, spent_refresh_tokens=CROWD, codes=CROWD, idempotency_keys=CROWD
    )
    assert all(len(counts) == 1 for counts in database.counts)
    assert max(counts[0] for counts in database.counts) == BATCH


async def close(database: Database, user: User) -> None:
    async with SqlStorage(database)() as uow:
        await uow.users.remove(user)
        await uow.commit()


async def test_only_what_belongs_to_a_closed_account_is_deleted(
    room: Storeroom, anna: User
) -> None:
    bert = await room.add_user()
    for user in (anna, bert):
        await room.session(user, f"of {user.id}", expired=NOON + MOMENT)
        await room.token(user, f"of {user.id}", expired=NOON + MOMENT)
        answer = {"user_id": user.id, "asked": "", "answer": "{}"}
        await room.put(IDEMPOTENCY_KEYS, answer | {"key": f"of {user.id}", "at": NOON})
    posts = [await room.add_post(user) for user in (anna, bert)]
    for post in posts:
        for voter in (anna, bert):
            await room.vote(post.id, voter)
    await close(room.database, anna)

    purged = await purge(room.database, NOON)

    assert purged == Purged(accounts=1)
    assert await room.values(USERS.c.id) == [bert.id]
    assert await room.values(SESSIONS.c.user_id) == [bert.id]
    assert await room.values(PERSONAL_TOKENS.c.user_id) == [bert.id]
    assert await room.values(IDEMPOTENCY_KEYS.c.user_id) == [bert.id]
    assert await room.values(POSTS.c.id) == [posts[1].id]
    assert await room.values(VOTES.c.user_id) == [bert.id]
    assert await room.values(POSTS.c.votes) == [1]


async def test_a_closed_account_is_emptied_in_batches(room: Storeroom, anna: User) -> None:
    bert = await room.add_user()
    for number in range(7):
        post = await room.add_post(anna if number % 2 else bert)
        for voter in (anna, bert):
            await room.vote(post.id, voter)
        await room.session(anna, f"session {number}", expired=NOON + MOMENT)
    await close(room.database, anna)
    database = CountingDatabase(room.database)

    assert await remove_closed_accounts(database, batch=2) == 1

    counts = [counts[0] for counts in database.counts]
    assert max(counts) == 2
    assert sum(counts) > 10
    assert await room.values(POSTS.c.owner_id) == [bert.id] * 4
    assert await room.values(POSTS.c.votes) == [1] * 4


async def test_closing_an_account_costs_the_same_however_much_is_stored(
    room: Storeroom, anna: User
) -> None:
    bert = await room.add_user()
    for _ in range(20):
        await room.add_post(bert)
    database = CountingDatabase(room.database)

    for user in (anna, bert):
        await close(database, user)

    first, second = database.counts
    assert first == second
    assert len(await room.values(POSTS.c.id)) == 20


async def test_closing_an_account_subtracts_a_bounded_number_of_votes_at_once(
    room: Storeroom, anna: User
) -> None:
    bert = await room.add_user()
    posts = [
        {
            "id": n,
            "owner_id": bert.id,
            "title": "",
            "content": "",
            "published": True,
            "created_at": NOON,
            "updated_at": NOON,
            "version": 1,
        }
        for n in range(1, 1003)
    ]
    await room.put(POSTS, *posts)
    await room.put(VOTES, *({"post_id": post["id"], "user_id": anna.id} for post in posts))

    await close(room.database, anna)
    assert sum(await room.values(POSTS.c.votes)) == 1002 - VOTES_AT_ONCE

    await remove_closed_accounts(room.database)
    assert sum(await room.values(POSTS.c.votes)) == 0


async def test_events_older_than_audit_days_are_deleted(room: Storeroom) -> None:
    day = timedelta(days=1)
    for name, at in (
        ("over", LAST - 30 * day),
        ("over as well", LAST - 31 * day),
        ("kept", LAST - 30 * day + MOMENT),
        ("new", NOON),
    ):
        event = Event(name=name, actor_id=None, subject="post:1", at=at)
        async with room.storage() as uow:
            uow.record(event)
            await uow.commit()

    assert await purge(room.database, NOON) == Purged()
    purged = await purge(room.database, NOON, audit_days=30)

    assert purged == Purged(events=2)
    assert await room.values(EVENTS.c.name) == ["kept", "new"]


async def test_events_are_deleted_in_batches_and_kept_ones_are_read_once(
    room: Storeroom,
) -> None:
    over, kept = 5 * BATCH, 5 * BATCH
    async with room.storage() as uow:
        for number in range(over + kept):
            at = LAST - timedelta(days=30) + (timedelta(days=1) if number >= over else timedelta())
            uow.record(Event(name="post_edited", actor_id=None, subject="post:1", at=at))
        await uow.commit()
    database = CountingDatabase(room.database)

    purged = await purge(database, NOON, audit_days=30, batch=BATCH)

    assert purged == Purged(events=over)
    assert [counts for counts in database.counts if counts != [0]] == [[BATCH]] * 5
    assert len(await room.values(EVENTS.c.id)) == kept


async def test_locked_rows_are_skipped(postgres_url: str) -> None:
    database = open_database(postgres_url)
    room = Storeroom(database)
    anna = await room.add_user()
    await room.session(anna, "locked", expired=LAST)
    await room.session(anna, "goes", expired=LAST)
    other = await asyncpg.connect(postgres_url)
    async with other.transaction():
        await other.execute("SELECT 1 FROM sessions WHERE refresh_hash = 'locked' FOR UPDATE")
        assert await purge(database, NOON) == Purged(sessions=1)
    assert await room.values(SESSIONS.c.refresh_hash) == ["locked"]

    assert await purge(database, NOON) == Purged(sessions=1)

    await other.close()
    await database.close()
