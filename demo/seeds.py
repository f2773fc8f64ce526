"""Demo data: into the tables, many rows a statement.

They pass the tables' constraints, and the triggers count votes and index words as for any row.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from itertools import islice
from operator import itemgetter
from random import Random
from typing import Any

from sqlalchemy import ColumnElement, Insert, Table, bindparam, func, select
from sqlalchemy.dialects.postgresql import insert

from application.ports.passwords import PasswordHash
from application.services import Ports
from demo.words import SPAN, demo_password, people, voters, writings
from domain.addresses import email_key
from domain.events import Event
from domain.posts import NewPost
from domain.users import User
from infrastructure.database.driver.statements import Database, Record
from infrastructure.database.posts import POST, POSTS
from infrastructure.database.unit_of_work import SqlUnitOfWork
from infrastructure.database.users import USER, USERS
from infrastructure.database.votes import VOTES

BATCH = 512
"""Posts a transaction, rows a statement."""

_LAST_USER = select(func.max(USERS.c.id), func.max(USERS.c.created_at))
_LAST_POST = select(POSTS.c.created_at).order_by(POSTS.c.id.desc()).limit(1)


@dataclass(slots=True, kw_only=True)
class Seeded:
    """The data added so far. It is committed."""

    users: int
    posts: int = 0
    drafts: int = 0
    """Of the posts."""
    votes: int = 0
    emails: dict[str, str]
    """The address of a user of each role."""
    password: str = field(repr=False)
    """The password of all these users. It is hashed once, because a hash takes 0.25 seconds."""


async def seed(
    database: Database,
    ports: Ports,
    users: int,
    posts: int,
    *,
    number: int,
    on_batch: Callable[[Seeded], None],
) -> None:
    """Add users, at least three, then their posts and votes. `on_batch` gets the totals so far
    after every commit.

    The same `number` gives the same data, but for the password and the times: the data are younger
    than what is there and older than now, so that ids and times agree.
    """
    random = Random(number)  # noqa: S311  no secret is drawn
    now = ports.clock()
    password = demo_password(ports.password_policy)
    password_hash = await ports.passwords.hash(password)
    added = await _seed_users(database, users, password_hash, random, now)
    emails = {user.role.value: user.email for user in added[:3]}
    seeded = Seeded(users=len(added), emails=emails, password=password)
    on_batch(seeded)
    authors = [user for user in added if user.is_active]
    written = writings(random, posts, authors, until=now)
    while batch := list(islice(written, BATCH)):
        seeded.votes += await _seed_posts(database, batch, authors, random, now)
        seeded.posts += len(batch)
        seeded.drafts += sum(not post.content.published for post in batch)
        on_batch(seeded)


async def _seed_users(
    database: Database, count: int, password: PasswordHash, random: Random, now: datetime
) -> list[User]:
    ((last_id, last_at),) = await database.fetch_long(_LAST_USER)
    last_post = [at for (at,) in await database.fetch_long(_LAST_POST)]
    since = max([now - SPAN, *([last_at] if last_at else []), *last_post])
    made = people(random, count, number=(last_id or 0) + 1, since=since, until=now)
    rows = [
        {
            "email": person.user.email,
            "email_key": email_key(person.user.email),
            "name": person.user.name,
            "role": person.user.role.value,
            "is_active": person.is_active,
            "is_verified": person.is_verified,
            "password_hash": password,
            "created_at": person.user.created_at,
            "tokens_valid_from": person.user.created_at,
        }
        for person in made
    ]
    async with database.transaction() as transaction:
        uow = SqlUnitOfWork(transaction)
        added = await _add(uow, USERS, rows, USER.columns)
        details = {"users": len(added)}
        uow.record(
            Event(name="users_seeded", actor_id=None, subject="users", at=now, details=details)
        )
        await uow.commit()
    return sorted(map(USER.of, added), key=lambda user: user.id)


async def _seed_posts(
    database: Database,
    posts: Sequence[NewPost],
    authors: Sequence[User],
    random: Random,
    now: datetime,
) -> int:
    """How many votes they got."""
    async with database.transaction() as transaction:
        uow = SqlUnitOfWork(transaction)
        rows = [_row(random, post, now) for post in posts]
        added = await _add(uow, POSTS, rows, (POSTS.c.id, POSTS.c.published))
        votes = [
            {"post_id": post_id, "user_id": authors[voter].id}
            for post_id, published in sorted(added, key=itemgetter(0))
            if published
            for voter in voters(random, len(authors))
        ]
        await _add(uow, VOTES, votes, (VOTES.c.post_id,))
        await uow.commit()
    return len(votes)


def _row(random: Random, post: NewPost, now: datetime) -> dict[str, Any]:
    edited = random.random() < 0.1
    pause = timedelta(minutes=random.randrange(1, 5000)) if edited else timedelta()
    row = POST.values(post.stored_as(0))
    del row["id"]
    return row | {"updated_at": min(post.created_at + pause, now), "version": 1 + edited}


async def _add(
    uow: SqlUnitOfWork,
    table: Table,
    rows: Sequence[dict[str, Any]],
    wanted: tuple[ColumnElement[Any], ...],
) -> list[Record]:
    """Insert the rows; the `wanted` columns of those that were not there already."""
    added: list[Record] = []
    done = 0
    while done < len(rows):
        # Powers of two: a few statements serve every number of rows.
        size = min(BATCH, 1 << (len(rows) - done).bit_length() - 1)
        part = rows[done : done + size]
        values = {
            f"{name}_{number}": value
            for number, row in enumerate(part)
            for name, value in row.items()
        }
        clause = _insert(table, tuple(part[0]), size, wanted)
        added += await uow.fetch(clause, **values)
        done += size
    return added


@cache
def _insert(
    table: Table, names: tuple[str, ...], size: int, wanted: tuple[ColumnElement[Any], ...]
) -> Insert:
    # PostgreSQL's construct, which SQLite's compiler writes in the same words.
    return (
        insert(table)
        .values(
            [
                {name: bindparam(f"{name}_{number}", type_=table.c[name].type) for name in names}
                for number in range(size)
            ]
        )
        .on_conflict_do_nothing()
        .returning(*wanted)
    )
