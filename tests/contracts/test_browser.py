"""The contract of browsers' sessions."""

from datetime import timedelta

from application.ports.browser import BrowserQueries, BrowserSessions
from domain.sessions import Session, cookie_hash, refresh_hash
from tests.contracts.backends import Backend
from tests.fakes.clock import NOON

LATER = NOON + timedelta(hours=2)


async def browser_session(backend: Backend, value: str) -> Session:
    return await backend.add_session(await backend.add_user(), refresh_hash=cookie_hash(value))


async def found(backend: Backend, hash_: str) -> Session | None:
    pair = await backend.queries.of(BrowserQueries).session_user(hash_)
    assert pair is None or pair[0].user_id == pair[1].id
    return pair[0] if pair else None


async def slide(backend: Backend, session: Session) -> None:
    async with backend.storage() as uow:
        await uow.of(BrowserSessions).slide(session)
        await uow.commit()


async def test_a_session_is_found_by_its_cookie_alone(backend: Backend) -> None:
    session, other = [await browser_session(backend, value) for value in ("anna", "bob")]

    for value, expected in (("anna", session.id), ("bob", other.id)):
        it = await found(backend, cookie_hash(value))
        assert it
        assert it.id == expected
    for hash_ in (cookie_hash("eve"), refresh_hash("anna"), ""):
        assert await found(backend, hash_) is None


async def test_a_slide_stores_the_last_use_and_the_expiry(backend: Backend) -> None:
    session = await browser_session(backend, "anna")
    session.last_used_at, session.expires_at = LATER, LATER + timedelta(days=30)

    await slide(backend, session)

    it = await found(backend, cookie_hash("anna"))
    assert it
    assert (it.last_used_at, it.expires_at) == (LATER, LATER + timedelta(days=30))


async def test_a_slide_brings_nothing_back_and_nothing_forward(backend: Backend) -> None:
    session = await browser_session(backend, "anna")
    session.last_used_at = LATER
    await slide(backend, session)
    session.last_used_at = NOON + timedelta(hours=1)
    await slide(backend, session)
    it = await found(backend, cookie_hash("anna"))
    assert it
    assert it.last_used_at == LATER

    async with backend.storage() as uow:
        await uow.sessions.revoke_all(session.user_id, LATER)
        await uow.commit()
    session.last_used_at = LATER + timedelta(hours=1)
    await slide(backend, session)

    it = await found(backend, cookie_hash("anna"))
    assert it
    assert (it.last_used_at, it.revoked_at) == (LATER, LATER)
