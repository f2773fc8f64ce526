"""The contract of users who change and are removed."""

import asyncio
from dataclasses import asdict
from datetime import timedelta

import pytest

from application.ports.passwords import PasswordHash
from application.ports.queries import PostList, Sort
from domain.one_time_codes import Purpose, new_code
from domain.pages import InvalidCursor
from domain.search import terms_of
from domain.users import EmailTaken, Role, User, UserId
from tests.contracts.backends import PASSWORD, Backend
from tests.factories import NewUserFactory
from tests.fakes.clock import NOON

LATER = NOON + timedelta(hours=1)
NEW = PasswordHash("a new hash")


async def stored(backend: Backend, user: User) -> User:
    found = await backend.queries.user(user.id)
    assert found is not None
    return found


async def password_of(backend: Backend, user: User) -> str:
    found = await backend.queries.credentials(user.email)
    assert found is not None
    return found.password


async def test_a_user_is_returned_with_the_hash_of_the_password(backend: Backend) -> None:
    anna = await backend.add_user()

    async with backend.storage() as uow:
        found = await uow.users.get(anna.id)
        assert await uow.users.get(UserId(anna.id + 1000)) is None

    assert found is not None
    assert asdict(found.user) == asdict(anna)
    assert found.password == PASSWORD


async def test_a_saved_user_keeps_the_password(backend: Backend) -> None:
    anna, other = await backend.add_user(), await backend.add_user()
    changed = {
        "email": "new@example.com",
        "pending_email": "next@example.com",
        "name": None,
        "role": Role.MODERATOR,
        "is_active": False,
        "is_verified": True,
        "tokens_valid_from": LATER,
        "second_factor_since": LATER,
    }

    async with backend.storage() as uow:
        found = await uow.users.get(anna.id)
        assert found is not None
        for name, value in changed.items():
            setattr(found.user, name, value)
        await uow.users.save(found.user)
        await uow.commit()

    assert asdict(await stored(backend, anna)) == asdict(anna) | changed
    assert asdict(await stored(backend, other)) == asdict(other)
    known = await backend.queries.credentials("NEW@example.com")
    assert known is not None
    assert known.password == PASSWORD
    assert await backend.queries.credentials(anna.email) is None


async def test_a_taken_address_is_refused(backend: Backend) -> None:
    anna, bert = await backend.add_user(), await backend.add_user()

    async with backend.storage() as uow:
        found = await uow.users.get(anna.id)
        assert found is not None
        found.user.email = bert.email.upper()
        with pytest.raises(EmailTaken):
            await uow.users.save(found.user)

    assert (await stored(backend, anna)).email == anna.email


async def test_a_user_may_change_the_case_of_their_address(backend: Backend) -> None:
    anna = await backend.add_user()

    async with backend.storage() as uow:
        found = await uow.users.get(anna.id)
        assert found is not None
        found.user.email = anna.email.upper()
        await uow.users.save(found.user)
        await uow.commit()

    assert (await stored(backend, anna)).email == anna.email.upper()


async def test_a_password_changes_only_from_the_current_hash(backend: Backend) -> None:
    anna, bert = await backend.add_user(), await backend.add_user()

    async with backend.storage() as uow:
        wrong = await uow.users.change_password(
            anna.id, current_hash=NEW, new_hash=PasswordHash("x")
        )
        right = await uow.users.change_password(anna.id, current_hash=PASSWORD, new_hash=NEW)
        again = await uow.users.change_password(
            anna.id, current_hash=PASSWORD, new_hash=PasswordHash("y")
        )
        await uow.commit()

    assert (wrong, right, again) == (False, True, False)
    assert await password_of(backend, anna) == NEW
    assert await password_of(backend, bert) == PASSWORD


@pytest.mark.parametrize("by", ["id", "address"])
async def test_a_returned_user_is_locked_until_the_unit_of_work_ends(
    backend: Backend, by: str
) -> None:
    anna = await backend.add_user()

    async def deactivate() -> None:
        async with backend.storage() as uow:
            found = await uow.users.get(anna.id)
            assert found is not None
            found.user.is_active = found.user.name == "Changed"
            await uow.users.save(found.user)
            await uow.commit()

    async with backend.storage() as uow:
        found = await (uow.users.get(anna.id) if by == "id" else uow.users.by_email(anna.email))
        assert found is not None
        second = asyncio.create_task(deactivate())
        done, _ = await asyncio.wait([second], timeout=0.05)
        assert not done
        found.user.name = "Changed"
        await uow.users.save(found.user)
        await uow.commit()
    await second

    assert (await stored(backend, anna)).is_active


async def test_removing_a_user_removes_only_what_is_theirs(backend: Backend) -> None:
    anna, bert = await backend.add_user(), await backend.add_user()
    own, other = await backend.add_post(anna), await backend.add_post(bert)
    session, kept = await backend.add_session(anna), await backend.add_session(bert)
    for post in (own, other):
        for voter in (anna, bert):
            await backend.vote(post.id, voter)

    async with backend.storage() as uow:
        await uow.users.remove(anna)
        await uow.commit()

    assert await backend.queries.user(anna.id) is None
    assert await backend.post(own.id, bert) is None
    assert await backend.queries.session_user(session.id) is None
    assert await backend.queries.session_user(kept.id) is not None
    seen = await backend.post(other.id, bert)
    assert seen is not None
    assert (seen.votes, seen.voted) == (1, True)


async def test_a_removed_user_is_not_found_and_their_address_is_free(backend: Backend) -> None:
    anna = await backend.add_user(email="anna@example.com", role=Role.ADMIN)
    bert = await backend.add_user()
    post = await backend.add_post(anna, title="Hello", content="world")
    code = new_code(anna, Purpose.PASSWORD_RESET, anna.email, "token", NOON)
    async with backend.storage() as uow:
        await uow.codes.add(code)
        await uow.commit()

    async with backend.storage() as uow:
        await uow.users.remove(anna)
        await uow.commit()

    async with backend.storage() as uow:
        assert await uow.users.get(anna.id) is None
        assert await uow.users.by_email(anna.email) is None
        assert await uow.users.admins() == []
        assert await uow.posts.details(post.id, bert.id, NOON) is None
    for email in (anna.email, "", f"closed {anna.id}"):
        assert await backend.queries.credentials(email) is None
    assert await backend.queries.code(code.code_hash) is None
    assert [user.id for user in (await backend.queries.users(10, None)).items] == [bert.id]
    for sort in Sort:
        for terms in ((), terms_of("hello")):
            wanted = PostList(viewer=bert, limit=10, sort=sort, terms=terms)
            assert (await backend.posts(wanted)).items == []
    again = await backend.add_user(email="anna@example.com")
    assert again.id != anna.id


async def test_the_identity_of_a_removed_user_is_free(backend: Backend) -> None:
    async def provision() -> User:
        async with backend.storage() as uow:
            user = await uow.identities.add(NewUserFactory.build(), issuer="i", subject="s")
            await uow.commit()
        return user

    anna = await provision()
    async with backend.storage() as uow:
        await uow.users.remove(anna)
        await uow.commit()
    assert await backend.queries.by_identity("i", "s") is None

    again = await provision()

    found = await backend.queries.by_identity("i", "s")
    assert found is not None
    assert found.id == again.id


async def test_only_active_admins_are_listed(backend: Backend) -> None:
    admins = [await backend.add_user(role=Role.ADMIN) for _ in range(3)]
    await backend.add_user(role=Role.MODERATOR)
    await backend.deactivate(admins[1])

    async with backend.storage() as uow:
        assert await uow.users.admins() == [admins[0].id, admins[2].id]


async def test_listing_the_admins_locks_them(backend: Backend) -> None:
    admins = [await backend.add_user(role=Role.ADMIN) for _ in range(2)]

    async def demote(admin: User) -> int:
        async with backend.storage() as uow:
            left = await uow.users.admins()
            if len(left) > 1:
                found = await uow.users.get(admin.id)
                assert found is not None
                found.user.role = Role.MEMBER
                await uow.users.save(found.user)
                await uow.commit()
        return len(left)

    assert sorted(await asyncio.gather(*map(demote, admins))) == [1, 2]


async def test_all_sessions_but_the_kept_one_are_revoked(backend: Backend) -> None:
    anna, bert = await backend.add_user(), await backend.add_user()
    first, kept, over = [await backend.add_session(anna) for _ in range(3)]
    other = await backend.add_session(bert)
    async with backend.storage() as uow:
        await uow.sessions.revoke_all(anna.id, NOON, but=kept.id)
        await uow.commit()

    async with backend.storage() as uow:
        await uow.sessions.revoke_all(anna.id, LATER, but=kept.id)
        await uow.commit()

    found = [await backend.queries.session_user(s.id) for s in (first, kept, over, other)]
    assert [pair and pair[0].revoked_at for pair in found] == [NOON, None, NOON, None]


async def test_all_sessions_are_revoked(backend: Backend) -> None:
    anna = await backend.add_user()
    sessions = [await backend.add_session(anna) for _ in range(2)]

    async with backend.storage() as uow:
        await uow.sessions.revoke_all(anna.id, LATER)
        await uow.commit()

    found = [await backend.queries.session_user(session.id) for session in sessions]
    assert [pair and pair[0].revoked_at for pair in found] == [LATER, LATER]


async def test_users_are_paged_newest_first_without_repetition(backend: Backend) -> None:
    users = [await backend.add_user() for _ in range(5)]

    walked: list[User] = []
    after: tuple[int, ...] | None = None
    while after is not None or not walked:
        page = await backend.queries.users(2, after)
        walked += page.items
        after = page.next

    assert [asdict(user) for user in walked] == [asdict(user) for user in reversed(users)]


async def test_a_malformed_sort_key_is_refused(backend: Backend) -> None:
    with pytest.raises(InvalidCursor):
        await backend.queries.users(2, (1, 2))
