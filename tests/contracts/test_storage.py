"""The contract of units of work and repositories."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

import pytest

from application.ports.passwords import PasswordHash
from application.ports.queries import PostList
from application.ports.storage import UnitOfWork
from domain.errors import AlreadyGone, DomainError
from domain.events import Event
from domain.posts import POST_WRITTEN, Post, PostChanged, PostId
from domain.sessions import InvalidCredentials, RefreshChain, Session, SessionId
from domain.users import EmailTaken, NewUser, Role, User, UserId
from tests.contracts.backends import PASSWORD, Backend
from tests.factories import (
    NewPostFactory,
    NewSessionFactory,
    NewUserFactory,
    UserFactory,
    post_patch,
)
from tests.fakes.clock import NOON

LATER = NOON + timedelta(minutes=5, microseconds=1)
NOBODY = UserId(2**63 - 1)


def edit(post: Post, title: str, editor: User) -> Post:
    post.edit(post_patch(title=title), actor=editor, now=LATER)
    return post


async def stored(backend: Backend, post: Post) -> Post | None:
    seen = await backend.post(post.id, UserFactory.build(id=post.owner_id))
    return seen.post if seen else None


async def stored_title(backend: Backend, post: Post) -> str | None:
    found = await stored(backend, post)
    return found.content.title if found else None


# What is added comes back whole


async def test_a_new_user_is_an_active_member_with_an_id(backend: Backend) -> None:
    new = NewUserFactory.build(email="Anna@Example.com", name="Anna")

    async with backend.storage() as uow:
        user = await uow.users.add(new, PASSWORD)
        await uow.commit()

    assert user.id > 0
    assert (user.email, user.name, user.role) == ("Anna@Example.com", "Anna", Role.MEMBER)
    assert user.is_active
    assert not user.is_verified
    assert user.created_at == user.tokens_valid_from == new.created_at
    found = await backend.queries.user(user.id)
    assert found is not None
    assert asdict(found) == asdict(user)


@pytest.mark.parametrize("role", Role)
async def test_a_new_user_has_the_given_role(backend: Backend, role: Role) -> None:
    user = await backend.add_user(role=role)

    found = await backend.queries.user(user.id)
    assert found is not None
    assert found.role is user.role is role


async def test_an_access_token_is_stored_for_its_session(backend: Backend) -> None:
    anna = await backend.add_user()
    async with backend.storage() as uow:
        session = await uow.sessions.add(NewSessionFactory.build(user_id=anna.id), PASSWORD)
        await uow.access_tokens.add(
            "ab" * 32, session_id=session.id, issued_at=NOON, expires_at=LATER
        )
        await uow.commit()


async def test_a_new_session_is_live_until_it_expires(backend: Backend) -> None:
    anna = await backend.add_user()
    new = NewSessionFactory.build(user_id=anna.id, user_agent=None, ip="2001:db8::1")

    async with backend.storage() as uow:
        session = await uow.sessions.add(new, PASSWORD)
        await uow.commit()

    assert session.user_id == anna.id
    assert session.created_at == session.last_used_at == new.created_at
    assert session.expires_at == new.expires_at
    assert session.revoked_at is None
    assert (session.user_agent, session.ip) == (None, "2001:db8::1")
    found = await backend.queries.session_user(session.id)
    assert found is not None
    assert asdict(found[0]) == asdict(session)
    assert asdict(found[1]) == asdict(anna)


@pytest.mark.parametrize("published", [True, False])
async def test_a_new_post_has_version_one(backend: Backend, published: bool) -> None:
    anna = await backend.add_user()
    new = NewPostFactory.build(owner_id=anna.id, content__published=published)

    async with backend.storage() as uow:
        post = await uow.posts.add(new)
        await uow.commit()

    assert post.version == 1
    assert post.created_at == post.updated_at == new.created_at
    assert (post.owner_id, post.content) == (anna.id, new.content)
    found = await stored(backend, post)
    assert found is not None
    assert asdict(found) == asdict(post)


async def test_an_edited_post_is_stored_whole(backend: Backend) -> None:
    anna = await backend.add_user()
    post = await backend.add_post(anna, published=True)
    patch = post_patch(title="New title", content="New content", published=False)

    async with backend.storage() as uow:
        seen = await uow.posts.details(post.id, anna.id, NOON)
        assert seen is not None
        seen.post.edit(patch, actor=anna, now=LATER)
        await uow.posts.save(seen.post)
        await uow.commit()

    found = await stored(backend, post)
    assert found is not None
    assert asdict(found) == asdict(post) | {
        "content": patch.values,
        "updated_at": LATER,
        "version": 2,
    }


TEXTS = {
    "emoji": "👩‍👩‍👧‍👦 🏳️‍🌈 \U0001fae8",
    "combining": "e\u0301 is not é, n\u0303 is not ñ, Z\u0351\u036b\u0343a",
    "right to left": "שלום \u202eabc\u202c مرحبا \u200f",
    "East Asian": "山田\u3000太郎 𠮷野家 \uff21",
    "quotes": "'; DROP TABLE users; -- \" \\ %s :name $1 ?",
    "invisible": "\ufeff\u200b\u00ad\u2028\u0085\x01\x1f\x7f",
    "not yet assigned": "\U000e0fff\uffff\U0010ffff",
    "line ends": "a\r\nb\rc\n\n ",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
async def test_text_is_stored_unchanged(backend: Backend, text: str) -> None:
    anna = await backend.add_user(name=text)
    session = await backend.add_session(anna, user_agent=text)
    post = await backend.add_post(anna, title=text, content=text * 100)

    user = await backend.queries.user(anna.id)
    login = await backend.queries.session_user(session.id)
    seen = await backend.post(post.id, anna)
    assert user is not None
    assert login is not None
    assert seen is not None
    assert anna.name == user.name == seen.owner_name == text
    assert session.user_agent == login[0].user_agent == text
    assert post.content.title == seen.post.content.title == text
    assert post.content.content == seen.post.content.content == text * 100


@pytest.mark.parametrize(
    "moment",
    [
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(2026, 11, 23, 12, 0, 0, 1, tzinfo=UTC),
        datetime(2026, 11, 23, 12, 0, 0, 999_999, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999_998, tzinfo=UTC),  # one more is asyncpg's infinity
    ],
    ids=str,
)
async def test_timestamps_are_exact_to_the_microsecond(backend: Backend, moment: datetime) -> None:
    anna = await backend.add_user(created_at=moment)
    session = await backend.add_session(anna, created_at=moment, expires_at=moment)
    post = await backend.add_post(anna, created_at=moment)

    found = await backend.queries.session_user(session.id)
    seen = await backend.post(post.id, anna)
    assert found is not None
    assert seen is not None
    moments = [found[0].expires_at, found[1].created_at, seen.post.created_at, post.created_at]
    assert moments == [moment] * 4
    assert {found.utcoffset() for found in moments} == {timedelta(0)}


# All or nothing


class ChangeOfMind(Exception):
    pass


async def change_everything(uow: UnitOfWork, anna: User, kept: Post, removed: Post) -> None:
    """All that a unit of work can do."""
    eve = await uow.users.add(NewUserFactory.build(email="eve@example.com"), PASSWORD)
    await uow.users.save(replace(anna, role=Role.ADMIN))
    await uow.sessions.add(NewSessionFactory.build(user_id=anna.id), PASSWORD)
    await uow.posts.add(NewPostFactory.build(owner_id=eve.id))
    seen = await uow.posts.details(kept.id, anna.id, NOON)
    assert seen is not None
    await uow.posts.save(edit(seen.post, "Changed", anna))
    await uow.posts.remove(removed)


async def titles(backend: Backend, viewer: User) -> list[str]:
    page = await backend.posts(PostList(viewer=viewer, limit=100))
    return [seen.post.content.title for seen in page.items]


@pytest.mark.parametrize("how", ["no commit", "an exception", "cancellation"])
async def test_changes_without_a_commit_are_rolled_back(backend: Backend, how: str) -> None:
    anna = await backend.add_user()
    kept = await backend.add_post(anna, title="Kept")
    removed = await backend.add_post(anna, title="Removed")
    session = await backend.add_session(anna)
    worked = asyncio.Event()

    async def work() -> None:
        async with backend.storage() as uow:
            await change_everything(uow, anna, kept, removed)
            worked.set()
            if how == "an exception":
                raise ChangeOfMind
            if how == "cancellation":
                await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await worked.wait()
    if how == "cancellation":
        task.cancel()
    with suppress(ChangeOfMind, asyncio.CancelledError):
        await task

    assert await titles(backend, anna) == ["Removed", "Kept"]
    assert await backend.queries.credentials("eve@example.com") is None
    found = await backend.queries.user(anna.id)
    assert found is not None
    assert found.role is Role.MEMBER
    for number in range(session.id + 1, session.id + 10):
        assert await backend.queries.session_user(SessionId(number)) is None
    await backend.add_user(email="eve@example.com")


async def test_all_committed_changes_are_stored(backend: Backend) -> None:
    anna = await backend.add_user()
    kept = await backend.add_post(anna, title="Kept")
    removed = await backend.add_post(anna, title="Removed")

    async with backend.storage() as uow:
        await change_everything(uow, anna, kept, removed)
        await uow.commit()

    assert await stored_title(backend, kept) == "Changed"
    assert len(await titles(backend, anna)) == 2
    assert await backend.queries.credentials("eve@example.com") is not None
    found = await backend.queries.user(anna.id)
    assert found is not None
    assert found.role is Role.ADMIN


async def test_an_error_after_the_commit_does_not_undo_it(backend: Backend) -> None:
    anna = await backend.add_user()

    async def work() -> None:
        async with backend.storage() as uow:
            await uow.posts.add(NewPostFactory.build(owner_id=anna.id, content__title="Committed"))
            await uow.commit()
            raise ChangeOfMind

    with pytest.raises(ChangeOfMind):
        await work()
    assert await titles(backend, anna) == ["Committed"]


async def test_changes_are_invisible_before_the_commit(backend: Backend) -> None:
    anna = await backend.add_user()
    kept = await backend.add_post(anna, title="Kept")
    removed = await backend.add_post(anna, title="Removed")

    async with backend.storage() as uow:
        await change_everything(uow, anna, kept, removed)

        assert await titles(backend, anna) == ["Removed", "Kept"]
        assert await backend.queries.credentials("eve@example.com") is None
        await uow.commit()


async def test_a_unit_of_work_sees_its_own_changes(backend: Backend) -> None:
    anna = await backend.add_user()

    async with backend.storage() as uow:
        post = await uow.posts.add(NewPostFactory.build(owner_id=anna.id))
        await uow.posts.save(edit(post, "Changed", anna))
        seen = await uow.posts.details(post.id, anna.id, NOON)
        assert seen is not None
        assert (seen.post.content.title, seen.post.version) == ("Changed", 2)
        await uow.posts.remove(seen.post)
        assert await uow.posts.details(post.id, anna.id, NOON) is None


async def test_a_unit_of_work_may_be_empty(backend: Backend) -> None:
    async with backend.storage():
        pass
    async with backend.storage() as uow:
        await uow.commit()


async def test_a_commit_ends_the_unit_of_work(backend: Backend) -> None:
    anna = await backend.add_user()

    async with backend.storage() as uow:
        await uow.posts.add(NewPostFactory.build(owner_id=anna.id, content__title="In time"))
        await uow.commit()
        with pytest.raises(RuntimeError):
            await uow.posts.add(NewPostFactory.build(owner_id=anna.id, content__title="Late"))
        with pytest.raises(RuntimeError):
            await uow.commit()

    assert await titles(backend, anna) == ["In time"]


async def add_orphan(uow: UnitOfWork) -> None:
    await uow.posts.add(NewPostFactory.build(owner_id=NOBODY))
    await uow.commit()


async def test_a_conflict_ends_the_unit_of_work(backend: Backend) -> None:
    anna = await backend.add_user()
    again = NewUserFactory.build(email=anna.email)
    clashes: list[tuple[type[DomainError], Callable[[UnitOfWork], Awaitable[object]]]] = [
        (EmailTaken, lambda uow: uow.users.add(again, PASSWORD)),
        (AlreadyGone, add_orphan),
    ]

    for error, clash in clashes:
        async with backend.storage() as uow:
            await uow.posts.add(NewPostFactory.build(owner_id=anna.id))
            with pytest.raises(error):
                await clash(uow)
            with pytest.raises(RuntimeError):
                await uow.commit()

    assert await titles(backend, anna) == []


# Addresses


SAME_ADDRESS = {
    "the same": ("anna@example.com", "anna@example.com"),
    "other case": ("anna@example.com", "Anna@EXAMPLE.com"),
    "other case, not ASCII": ("ÉMILE@example.com", "émile@example.com"),
    "Greek final sigma": ("ΟΔΟΣ@example.com", "οδος@example.com"),
    "A-label": ("v@faß.example", "v@xn--fa-hia.example"),
    "a space": ("anna@example.com", " anna@example.com "),
    "Cyrillic": ("ИВАН@пример.рф", "иван@Пример.РФ"),
    "other composition": ("e\u0301mile@example.com", "émile@example.com"),
    "compatible characters": ("\uff41nna@example.com", "anna@example.com"),
}


@pytest.mark.parametrize(("known", "new"), SAME_ADDRESS.values(), ids=SAME_ADDRESS.keys())
async def test_one_address_is_one_account(backend: Backend, known: str, new: str) -> None:
    first = await backend.add_user(email=known)

    for email in (new, known):
        with pytest.raises(EmailTaken):
            await backend.add_user(email=email)

    found = await backend.queries.credentials(new)
    assert found is not None
    assert asdict(found.user) == asdict(first)
    assert found.user.email == known


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("anna@example.com", "änna@example.com"),
        ("strasse@example.com", "straße@example.com"),
        ("v@fass.example", "v@faß.example"),
    ],
)
async def test_similar_addresses_are_two_accounts(backend: Backend, one: str, other: str) -> None:
    for email in (one, other):
        user = await backend.add_user(email=email)

        found = await backend.queries.credentials(email)
        assert found is not None
        assert found.user.id == user.id


async def test_one_of_two_concurrent_registrations_succeeds(backend: Backend) -> None:
    attempts = await asyncio.gather(
        *(backend.add_user(email=email) for email in ("anna@example.com", "ANNA@example.com")),
        return_exceptions=True,
    )

    assert sorted(type(attempt).__name__ for attempt in attempts) == ["EmailTaken", "User"]
    (winner,) = (attempt for attempt in attempts if isinstance(attempt, User))
    found = await backend.queries.credentials("anna@example.com")
    assert found is not None
    assert found.user.id == winner.id


@pytest.mark.parametrize("first_one_commits", [True, False])
async def test_a_registration_waits_for_another_of_its_address(
    backend: Backend, first_one_commits: bool
) -> None:
    new: NewUser = NewUserFactory.build()
    async with backend.storage() as uow:
        first = await uow.users.add(new, PASSWORD)
        second = asyncio.create_task(backend.add_user(email=new.email))
        done, _ = await asyncio.wait([second], timeout=0.05)
        assert not done
        if first_one_commits:
            await uow.commit()

    if first_one_commits:
        with pytest.raises(EmailTaken):
            await second
        assert await backend.queries.user(first.id) is not None
    else:
        assert (await second).email == new.email


async def test_a_user_is_found_by_their_address(backend: Backend) -> None:
    anna = await backend.add_user(email="anna@example.com")
    await backend.add_user()

    async with backend.storage() as uow:
        found = await uow.users.by_email("ANNA@example.com")

    assert found is not None
    assert asdict(found.user) == asdict(anna)
    assert found.password == PASSWORD


@pytest.mark.parametrize("email", ["nobody@example.com", "", "\0", "\ud800"])
async def test_no_user_is_found_by_an_unknown_address(backend: Backend, email: str) -> None:
    await backend.add_user()

    async with backend.storage() as uow:
        assert await uow.users.by_email(email) is None
        await uow.commit()


# Sessions


async def refuses_session(backend: Backend, user_id: UserId, password: PasswordHash) -> bool:
    async with backend.storage() as uow:
        with pytest.raises(InvalidCredentials):
            await uow.sessions.add(NewSessionFactory.build(user_id=user_id), password)
        await uow.commit()
    return True


async def test_a_session_is_refused_for_another_password(backend: Backend) -> None:
    anna = await backend.add_user()

    assert await refuses_session(backend, anna.id, PasswordHash("another hash"))


async def test_a_session_is_refused_for_a_changed_password(backend: Backend) -> None:
    anna = await backend.add_user()
    await backend.change_password(anna, PasswordHash("a new hash"))

    assert await refuses_session(backend, anna.id, PASSWORD)


async def test_a_session_is_refused_for_a_deactivated_user(backend: Backend) -> None:
    anna = await backend.add_user()
    await backend.deactivate(anna)

    assert await refuses_session(backend, anna.id, PASSWORD)


async def test_a_session_is_refused_for_a_removed_user(backend: Backend) -> None:
    anna = await backend.add_user()
    await backend.remove_user(anna.id)

    assert await refuses_session(backend, anna.id, PASSWORD)
    assert await refuses_session(backend, NOBODY, PASSWORD)


async def test_a_user_has_many_sessions(backend: Backend) -> None:
    anna = await backend.add_user()

    first, second = await backend.add_session(anna), await backend.add_session(anna)

    assert first.id != second.id


# Posts


# Who comes from an outside provider


async def test_a_user_of_a_provider_is_verified_and_has_no_password(backend: Backend) -> None:
    new = NewUserFactory.build(email="anna@example.com", name=None)

    async with backend.storage() as uow:
        user = await uow.identities.add(new, issuer="https://a.test", subject="1")
        await uow.commit()

    assert user.is_verified
    assert user.is_active
    assert user.tokens_valid_from < NOON - timedelta(days=10_000)
    found = await backend.queries.by_identity("https://a.test", "1")
    assert found is not None
    assert asdict(found) == asdict(user)
    credentials = await backend.queries.credentials("anna@example.com")
    assert credentials is not None
    assert credentials.password == ""


@pytest.mark.parametrize(
    ("issuer", "subject"),
    [("https://b.test", "1"), ("https://a.test", "2"), ("https://a.test", ""), ("", "1")],
)
async def test_an_identity_is_issuer_and_subject_together(
    backend: Backend, issuer: str, subject: str
) -> None:
    async with backend.storage() as uow:
        await uow.identities.add(NewUserFactory.build(), issuer="https://a.test", subject="1")
        await uow.commit()

    assert await backend.queries.by_identity(issuer, subject) is None


async def test_concurrent_lookups_of_identities_do_not_mix(backend: Backend) -> None:
    known = {}
    for number in range(5):
        async with backend.storage() as uow:
            new = NewUserFactory.build()
            user = await uow.identities.add(new, issuer="https://a.test", subject=str(number))
            await uow.commit()
        known[str(number)] = user.id

    subjects = [str(number) for number in range(7)] * 5
    found = await asyncio.gather(
        *(backend.queries.by_identity("https://a.test", subject) for subject in subjects)
    )

    assert [user and user.id for user in found] == [known.get(subject) for subject in subjects]


async def test_the_identity_of_a_removed_user_is_not_found(backend: Backend) -> None:
    async with backend.storage() as uow:
        user = await uow.identities.add(NewUserFactory.build(), issuer="https://a", subject="1")
        await uow.commit()

    await backend.remove_user(user.id)

    assert await backend.queries.by_identity("https://a", "1") is None


async def test_an_identity_is_not_added_with_a_taken_address(backend: Backend) -> None:
    anna = await backend.add_user()

    for email, subject in ((anna.email.upper(), "1"), ("new@example.com", "2")):
        with suppress(EmailTaken):
            async with backend.storage() as uow:
                new = NewUserFactory.build(email=email)
                await uow.identities.add(new, issuer="https://a.test", subject=subject)
                await uow.commit()

    assert await backend.queries.by_identity("https://a.test", "1") is None
    assert await backend.queries.by_identity("https://a.test", "2") is not None


async def test_an_identity_is_added_once(backend: Backend) -> None:
    async with backend.storage() as uow:
        user = await uow.identities.add(NewUserFactory.build(), issuer="https://a", subject="1")
        await uow.commit()

    async with backend.storage() as uow:
        with pytest.raises(EmailTaken):
            await uow.identities.add(NewUserFactory.build(), issuer="https://a", subject="1")

    found = await backend.queries.by_identity("https://a", "1")
    assert found is not None
    assert found.id == user.id


# Sessions go on and end


async def living(backend: Backend, user: User, now: datetime = LATER) -> list[SessionId]:
    return [session.id for session in await backend.queries.sessions(user.id, now)]


async def rotate(backend: Backend, session: Session, used: str, new: str) -> bool:
    async with backend.storage() as uow:
        rotated = await uow.sessions.rotate(
            session, used_hash=used, new_hash=new, nonce=f"nonce of {new}"
        )
        await uow.commit()
    return rotated


def refreshed(session: Session) -> Session:
    session.last_used_at = LATER
    session.expires_at = LATER + timedelta(days=30)
    return session


async def test_a_refreshed_session_is_stored_with_its_new_token(
    backend: Backend,
) -> None:
    anna = await backend.add_user()
    session = await backend.add_session(anna, refresh_hash="first")

    assert await rotate(backend, refreshed(session), "first", "second")

    for hash_, is_rotated in (("first", True), ("second", False)):
        found = await backend.queries.refresh_lookup(hash_)
        assert found is not None
        assert found.is_rotated is is_rotated
        assert asdict(found.session) == asdict(session)
        assert asdict(found.user) == asdict(anna)


async def test_a_session_is_found_by_each_of_its_refresh_tokens(
    backend: Backend,
) -> None:
    anna = await backend.add_user()
    one = await backend.add_session(anna, refresh_hash="one 0")
    two = await backend.add_session(anna, refresh_hash="two 0")
    for n in range(3):
        assert await rotate(backend, one, f"one {n}", f"one {n + 1}")

    for n in range(4):
        found = await backend.queries.refresh_lookup(f"one {n}")
        assert found is not None
        assert (found.session.id, found.is_rotated) == (one.id, n < 3)
        assert found.chain == RefreshChain(
            current_hash="one 3", nonce="nonce of one 3", rotated_at=NOON if n < 3 else None
        )
    other = await backend.queries.refresh_lookup("two 0")
    assert other is not None
    assert (other.session.id, other.is_rotated, other.chain.nonce) == (two.id, False, None)
    for unknown in ("one 4", "ONE 0", "", "one"):
        assert await backend.queries.refresh_lookup(unknown) is None


@pytest.mark.parametrize("used", ["zeroth", "second", "of another session"])
async def test_only_the_current_token_can_be_rotated(backend: Backend, used: str) -> None:
    anna = await backend.add_user()
    session = await backend.add_session(anna, refresh_hash="zeroth")
    await backend.add_session(anna, refresh_hash="of another session")
    assert await rotate(backend, session, "zeroth", "first")

    assert not await rotate(backend, refreshed(session), used, "third")

    assert await backend.queries.refresh_lookup("third") is None
    found = await backend.queries.refresh_lookup("first")
    assert found is not None
    assert not found.is_rotated
    assert found.session.last_used_at == NOON


async def test_a_revoked_session_is_not_rotated(backend: Backend) -> None:
    anna = await backend.add_user()
    session = await backend.add_session(anna, refresh_hash="first")
    async with backend.storage() as uow:
        assert await uow.sessions.revoke(session.id, anna.id, LATER)
        await uow.commit()

    assert not await rotate(backend, refreshed(session), "first", "second")

    found = await backend.queries.session_user(session.id)
    assert found is not None
    assert found[0].revoked_at == LATER


async def test_a_session_of_a_removed_user_is_not_rotated(backend: Backend) -> None:
    anna = await backend.add_user()
    session = await backend.add_session(anna, refresh_hash="zeroth")
    assert await rotate(backend, session, "zeroth", "first")
    await backend.remove_user(anna.id)

    assert not await rotate(backend, session, "first", "second")
    for hash_ in ("zeroth", "first", "second"):
        assert await backend.queries.refresh_lookup(hash_) is None


async def test_one_of_many_concurrent_rotations_succeeds(backend: Backend) -> None:
    anna = await backend.add_user()
    session = await backend.add_session(anna, refresh_hash="first")

    rotated = await asyncio.gather(
        *(rotate(backend, session, "first", f"fresh {n}") for n in range(4))
    )

    assert sorted(rotated) == [False, False, False, True]
    found = await backend.queries.refresh_lookup(f"fresh {rotated.index(True)}")
    assert found is not None
    assert not found.is_rotated


async def test_live_sessions_are_listed_most_recently_used_first(
    backend: Backend,
) -> None:
    anna, bert = await backend.add_user(), await backend.add_user()
    first = await backend.add_session(anna, refresh_hash="first")
    second = await backend.add_session(anna)
    await backend.add_session(anna, expires_at=LATER)
    ended = await backend.add_session(anna)
    await backend.add_session(bert)
    async with backend.storage() as uow:
        assert await uow.sessions.revoke(ended.id, anna.id, NOON)
        await uow.commit()
    assert await living(backend, anna) == [second.id, first.id]

    await rotate(backend, refreshed(first), "first", "second")

    listed = await backend.queries.sessions(anna.id, LATER)
    assert [session.id for session in listed] == [first.id, second.id]
    assert asdict(listed[0]) == asdict(first)


async def test_revoking_one_session_keeps_the_others(backend: Backend) -> None:
    anna = await backend.add_user()
    one, two = await backend.add_session(anna), await backend.add_session(anna)

    async with backend.storage() as uow:
        assert await uow.sessions.revoke(one.id, anna.id, LATER)
        await uow.commit()

    assert await living(backend, anna) == [two.id]


async def test_only_a_live_session_of_the_user_is_revoked(backend: Backend) -> None:
    anna, bert = await backend.add_user(), await backend.add_user()
    of_bert = await backend.add_session(bert)
    expired = await backend.add_session(anna, expires_at=LATER)
    ended = await backend.add_session(anna)

    async with backend.storage() as uow:
        assert await uow.sessions.revoke(ended.id, anna.id, NOON)
        for session_id in (of_bert.id, expired.id, ended.id, SessionId(NOBODY)):
            assert not await uow.sessions.revoke(session_id, anna.id, LATER)
        await uow.commit()

    assert await living(backend, bert) == [of_bert.id]
    found = await backend.queries.session_user(ended.id)
    assert found is not None
    assert found[0].revoked_at == NOON


async def test_all_sessions_of_a_user_but_the_given_one_are_revoked(
    backend: Backend,
) -> None:
    anna, bert = await backend.add_user(), await backend.add_user()
    sessions = [await backend.add_session(anna) for _ in range(3)]
    of_bert = await backend.add_session(bert)
    await backend.add_session(anna, expires_at=LATER)

    async with backend.storage() as uow:
        assert await uow.sessions.revoke_all(anna.id, LATER, but=sessions[1].id) == 2
        await uow.commit()
    assert await living(backend, anna) == [sessions[1].id]

    async with backend.storage() as uow:
        assert await uow.sessions.revoke_all(anna.id, LATER) == 1
        assert await uow.sessions.revoke_all(anna.id, LATER) == 0
        await uow.commit()
    assert await living(backend, anna) == []
    assert await living(backend, bert) == [of_bert.id]


async def test_a_missing_post_is_returned_as_none(backend: Backend) -> None:
    anna = await backend.add_user()
    post = await backend.add_post(anna)
    await backend.remove_post(post)

    async with backend.storage() as uow:
        for missing in (post.id, PostId(0), PostId(2**63 - 1)):
            assert await uow.posts.details(missing, anna.id, NOON) is None


async def test_a_post_is_returned_as_its_viewer_sees_it(backend: Backend) -> None:
    anna, bob = await backend.add_user(name="Anna"), await backend.add_user()
    post = await backend.add_post(anna, published=False)
    await backend.vote(post.id, bob)

    async with backend.storage() as uow:
        to_anna = await uow.posts.details(post.id, anna.id, NOON)
        to_bob = await uow.posts.details(post.id, bob.id, NOON)

    assert to_anna is not None
    assert to_bob is not None
    assert (to_anna.owner_name, to_anna.voted, to_bob.voted) == ("Anna", False, True)
    assert asdict(to_anna.post) == asdict(post)


async def test_a_post_of_a_missing_user_is_refused(backend: Backend) -> None:
    anna = await backend.add_user()
    await backend.remove_user(anna.id)

    with pytest.raises(AlreadyGone):
        await backend.add_post(anna)


async def test_a_stale_save_changes_nothing(backend: Backend) -> None:
    anna = await backend.add_user()
    mine = await backend.add_post(anna)
    theirs = await stored(backend, mine)
    assert theirs is not None
    async with backend.storage() as uow:
        await uow.posts.save(edit(theirs, "Theirs", anna))
        await uow.commit()

    async with backend.storage() as uow:
        with pytest.raises(PostChanged):
            await uow.posts.save(edit(mine, "Mine", anna))
        await uow.commit()

    found = await stored(backend, mine)
    assert found is not None
    assert (found.content.title, found.version) == ("Theirs", 2)


async def test_a_save_of_the_same_or_a_later_version_is_stale(backend: Backend) -> None:
    anna = await backend.add_user()
    post = await backend.add_post(anna, title="First")

    async with backend.storage() as uow:
        with pytest.raises(PostChanged):
            await uow.posts.save(post)
        with pytest.raises(PostChanged):
            await uow.posts.save(edit(edit(post, "Second", anna), "Third", anna))
        await uow.commit()

    assert await stored_title(backend, post) == "First"


async def test_a_stale_removal_removes_nothing(backend: Backend) -> None:
    anna = await backend.add_user()
    mine = await backend.add_post(anna)
    theirs = await stored(backend, mine)
    assert theirs is not None
    async with backend.storage() as uow:
        await uow.posts.save(edit(theirs, "Theirs", anna))
        await uow.commit()

    async with backend.storage() as uow:
        with pytest.raises(PostChanged):
            await uow.posts.remove(mine)
        await uow.commit()

    assert await stored_title(backend, mine) == "Theirs"


async def test_a_removed_post_is_neither_saved_nor_removed_again(backend: Backend) -> None:
    anna = await backend.add_user()
    post = await backend.add_post(anna)
    await backend.remove_post(post)

    async with backend.storage() as uow:
        with pytest.raises(PostChanged):
            await uow.posts.remove(post)
        with pytest.raises(PostChanged):
            await uow.posts.save(edit(post, "Back again", anna))
        await uow.commit()

    assert await stored(backend, post) is None


async def test_save_and_remove_change_only_one_post(backend: Backend) -> None:
    anna = await backend.add_user()
    kept = await backend.add_post(anna, title="Kept")
    post = await backend.add_post(anna)

    async with backend.storage() as uow:
        await uow.posts.save(edit(post, "Changed", anna))
        await uow.posts.remove(post)
        await uow.commit()

    assert await titles(backend, anna) == ["Kept"]
    assert await stored_title(backend, kept) == "Kept"


async def test_a_post_with_votes_is_removed(backend: Backend) -> None:
    anna, bob = await backend.add_user(), await backend.add_user()
    post = await backend.add_post(anna)
    await backend.vote(post.id, bob)

    await backend.remove_post(post)

    assert await stored(backend, post) is None


async def test_a_changed_entity_is_not_stored_without_save(backend: Backend) -> None:
    anna = await backend.add_user(name="Anna")
    session = await backend.add_session(anna)
    async with backend.storage() as uow:
        added = await uow.posts.add(NewPostFactory.build(owner_id=anna.id, content__title="Stored"))
        edit(added, "After add", anna)
        got = await uow.posts.details(added.id, anna.id, NOON)
        assert got is not None
        assert got.post.content.title == "Stored"
        edit(got.post, "After get", anna)
        await uow.commit()
    anna.name = "Hanna"
    session.revoked_at = LATER

    assert await titles(backend, anna) == ["Stored"]
    found = await backend.queries.session_user(session.id)
    assert found is not None
    assert found[0].revoked_at is None
    assert found[1].name == "Anna"


async def test_a_change_after_save_is_not_stored(backend: Backend) -> None:
    anna = await backend.add_user()
    post = await backend.add_post(anna)

    async with backend.storage() as uow:
        await uow.posts.save(edit(post, "Saved", anna))
        edit(post, "After save", anna)
        await uow.commit()

    assert await stored_title(backend, post) == "Saved"


@pytest.mark.parametrize("first_one_commits", [True, False])
async def test_a_post_is_locked_until_its_unit_of_work_ends(
    backend: Backend, first_one_commits: bool
) -> None:
    anna = await backend.add_user()
    post = await backend.add_post(anna, title="First")

    async def second_title() -> str:
        async with backend.storage() as uow:
            seen = await uow.posts.details(post.id, anna.id, NOON)
            assert seen is not None
            await uow.posts.save(edit(seen.post, f"{seen.post.content.title}, then second", anna))
            await uow.commit()
        return seen.post.content.title

    async with backend.storage() as uow:
        seen = await uow.posts.details(post.id, anna.id, NOON)
        assert seen is not None
        second = asyncio.create_task(second_title())
        done, _ = await asyncio.wait([second], timeout=0.05)
        assert not done
        await uow.posts.save(edit(seen.post, "Changed", anna))
        if first_one_commits:
            await uow.commit()

    seen_first = "Changed" if first_one_commits else "First"
    assert await second == f"{seen_first}, then second"
    found = await stored(backend, post)
    assert found is not None
    assert found.version == (3 if first_one_commits else 2)


async def test_no_concurrent_edit_is_lost(backend: Backend) -> None:
    anna = await backend.add_user()
    post = await backend.add_post(anna, title="0")

    async def count_up() -> None:
        async with backend.storage() as uow:
            seen = await uow.posts.details(post.id, anna.id, NOON)
            assert seen is not None
            await uow.posts.save(edit(seen.post, str(int(seen.post.content.title) + 1), anna))
            await uow.commit()

    await asyncio.gather(*(count_up() for _ in range(20)))

    found = await stored(backend, post)
    assert found is not None
    assert (found.content.title, found.version) == ("20", 21)


# Ids


async def test_ids_are_never_reused(backend: Backend) -> None:
    anna = await backend.add_user()
    users, posts = [anna.id], []
    for _ in range(3):
        post = await backend.add_post(anna)
        await backend.remove_post(post)
        posts.append(post.id)
        user = await backend.add_user()
        await backend.remove_user(user.id)
        users.append(user.id)

    for ids in (users, posts):
        assert ids == sorted(set(ids))


# Counting what somebody wrote


async def write(uow: UnitOfWork, author: User, at: datetime) -> Post:
    post = await uow.posts.add(NewPostFactory.build(owner_id=author.id, created_at=at))
    uow.record(Event.of(POST_WRITTEN, f"post:{post.id}", actor_id=author.id, at=at))
    return post


async def test_recent_post_times_are_newest_first(backend: Backend) -> None:
    anna, bob = await backend.add_user(), await backend.add_user()
    hours = [NOON + timedelta(hours=hour) for hour in range(4)]
    for author, at in (*((anna, hour) for hour in hours), (bob, hours[3])):
        async with backend.storage() as uow:
            await write(uow, author, at)
            uow.record(Event.of("logged_in", "session:1", actor_id=author.id, at=at))
            await uow.commit()

    async with backend.storage() as uow:
        recent = uow.posts.recent_post_times
        assert list(await recent(anna.id, hours[1], 10)) == [hours[3], hours[2]]
        assert list(await recent(anna.id, hours[0], 2)) == [hours[3], hours[2]]
        assert list(await recent(anna.id, hours[3], 10)) == []
        assert list(await recent(NOBODY, hours[0], 10)) == []


async def test_recent_post_times_include_deleted_posts(backend: Backend) -> None:
    anna = await backend.add_user()
    async with backend.storage() as uow:
        post = await write(uow, anna, LATER)
        await uow.commit()
    await backend.remove_post(post)

    async with backend.storage() as uow:
        assert list(await uow.posts.recent_post_times(anna.id, NOON, 10)) == [LATER]


async def test_concurrent_writes_do_not_exceed_a_quota(backend: Backend) -> None:
    anna = await backend.add_user()

    async def write_unless_written() -> bool:
        async with backend.storage() as uow:
            if await uow.posts.recent_post_times(anna.id, NOON, 1):
                return False
            await write(uow, anna, LATER)
            await uow.commit()
        return True

    assert sum(await asyncio.gather(*(write_unless_written() for _ in range(6)))) == 1


async def test_an_ended_identity_is_remembered_and_can_be_added_again(backend: Backend) -> None:
    async with backend.storage() as uow:
        user = await uow.identities.add(NewUserFactory.build(), issuer="https://a", subject="1")
        assert await uow.identities.ended_at("https://a", "1") is None
        await uow.commit()

    for moment in (NOON, LATER):
        async with backend.storage() as uow:
            await uow.identities.end(user.id, moment)
            await uow.users.remove(user)
            await uow.commit()
        assert await backend.queries.by_identity("https://a", "1") is None
        async with backend.storage() as uow:
            assert await uow.identities.ended_at("https://a", "1") == moment
            assert await uow.identities.ended_at("https://a", "2") is None
            user = await uow.identities.add(NewUserFactory.build(), issuer="https://a", subject="1")
            await uow.commit()
