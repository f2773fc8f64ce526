"""The contract of exports."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from application.ports.exports import Exports
from application.request_info import REQUEST_INFO, RequestInfo
from domain.events import Event
from domain.users import User
from infrastructure.database.driver.rows import Row
from infrastructure.database.exports import BATCH, exported
from tests.contracts.backends import Backend
from tests.fakes.clock import NOON

NOTHING_OF_ITS_USER = {
    "access_tokens": "hashes of tokens, and the times of their sessions",
    "login_challenges": "hashes of random bits, for five minutes",
    "passkey_challenges": "hashes of random bits, for five minutes",
    "recovery_codes": "hashes of codes",
    "spent_refresh_tokens": "hashes of tokens",
    "users": "the account is the export's `user`",
}
"""Tables that are not exported, and why."""


async def export(backend: Backend, user: User) -> dict[str, list[Mapping[str, Any]]]:
    sections: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    async for name, rows in backend.queries.of(Exports).of(user.id):
        assert list(sections)[-1:] in ([], [name]) or name not in sections
        sections[name] += rows
    return sections


async def test_an_export_has_what_is_the_user_s_and_nothing_else(backend: Backend) -> None:
    anna, bob = await backend.add_user(), await backend.add_user()
    draft = await backend.add_post(anna, title="Mine", published=False)
    other = await backend.add_post(bob)
    await backend.vote(other.id, anna)
    await backend.vote(draft.id, bob)
    session = await backend.add_session(anna, ip="192.0.2.1")
    await backend.add_session(bob)

    sections = await export(backend, anna)

    (post,) = sections["posts"]
    assert (post["id"], post["title"], post["published"]) == (draft.id, "Mine", False)
    assert [dict(vote) for vote in sections["votes"]] == [{"post_id": other.id}]
    assert [(s["id"], s["ip"]) for s in sections["sessions"]] == [(session.id, "192.0.2.1")]


async def test_a_section_of_several_batches_is_whole_and_in_order(backend: Backend) -> None:
    anna, bob = await backend.add_user(), await backend.add_user()
    posts = [await backend.add_post(anna) for _ in range(BATCH + 1)]
    others = [await backend.add_post(bob) for _ in range(BATCH)]
    for post in others:
        await backend.vote(post.id, anna)

    sections = await export(backend, anna)

    assert [post["id"] for post in sections["posts"]] == [post.id for post in posts]
    assert [vote["post_id"] for vote in sections["votes"]] == [post.id for post in others]


async def test_revoked_sessions_are_exported(backend: Backend) -> None:
    anna = await backend.add_user()
    session = await backend.add_session(anna)
    async with backend.storage() as uow:
        await uow.sessions.revoke_all(anna.id, NOON + timedelta(seconds=1))
        await uow.commit()

    (exported_session,) = (await export(backend, anna))["sessions"]

    assert exported_session["id"] == session.id
    assert exported_session["revoked_at"] == NOON + timedelta(seconds=1)


async def test_events_of_others_are_exported_without_their_address(backend: Backend) -> None:
    anna, bob = await backend.add_user(), await backend.add_user()
    REQUEST_INFO.set(RequestInfo("r1", "192.0.2.9"))
    async with backend.storage() as uow:
        for name, user, actor in (
            ("user_renamed", anna, anna),
            ("role_changed", anna, bob),
            ("login_failed", anna, None),
            ("user_renamed", bob, bob),
        ):
            actor_id = actor.id if actor else None
            uow.record(Event.of(name, f"user:{user.id}", actor_id=actor_id, at=NOON))
        await uow.commit()

    sections = await export(backend, anna)

    assert [(e["name"], e["ip"]) for e in sections["events"]] == [("user_renamed", "192.0.2.9")]
    others = sections["events_by_others"]
    assert [event["name"] for event in others] == ["role_changed", "login_failed"]
    assert all("ip" not in event for event in others)


def test_a_table_that_belongs_to_users_is_exported_or_says_why_not() -> None:
    """List the columns in `EXPORTED` of the concept's module, or the table and the reason here."""
    of_users = {"users"}
    for table in Row.metadata.sorted_tables:
        if of_users & {key.column.table.name for key in table.foreign_keys}:
            of_users.add(table.name)

    listed = {section.table.name for section in exported()}

    assert listed >= of_users - NOTHING_OF_ITS_USER.keys()


def test_no_secret_is_exported() -> None:
    shown = {(section.name, field) for section in exported() for field in section.fields}

    secret = ("hash", "secret", "sealed", "password", "public_key", "refresh")
    assert [name for name in shown if any(word in name[1] for word in secret)] == []
