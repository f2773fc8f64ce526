"""The contract of jobs: adding, claiming, saving and listing them."""

import asyncio
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from application.ports.jobs import Job, JobId, JobList, JobStatus, NewJob
from application.ports.storage import UnitOfWork
from application.reactions import happened_of
from application.request_info import REQUEST_INFO, RequestInfo
from domain.events import Event, Happened
from infrastructure.database.jobs import CHANNEL
from infrastructure.database.unit_of_work import SqlStorage
from tests.contracts.backends import Backend, SqlBackend
from tests.fakes.clock import NOON

SECOND = timedelta(seconds=1)
LATER = NOON + 30 * SECOND


async def add(backend: Backend, *kinds: str, **wanted: Any) -> None:
    """Add jobs that are due one second after the other."""
    for second, kind in enumerate(kinds):
        job = NewJob(kind=kind, **{"due_at": NOON + second * SECOND} | wanted)
        async with backend.storage() as uow:
            await uow.jobs.add(job)
            await uow.commit()


async def claim(
    backend: Backend,
    at: int,
    until: int,
    *,
    kinds: Collection[str] = (),
    lanes: Collection[str] = (),
) -> Job | None:
    async with backend.storage() as uow:
        job = await uow.jobs.claim(
            NOON + at * SECOND, until=NOON + until * SECOND, busy_kinds=kinds, busy_lanes=lanes
        )
        await uow.commit()
    return job


async def claimed(backend: Backend, at: int = 30, until: int = 90) -> Job:
    job = await claim(backend, at, until)
    assert job is not None
    return job


async def listed(backend: Backend) -> list[Job]:
    return await backend.queries.of(JobList).jobs(100)


async def test_a_job_is_stored_with_the_info_of_its_request(backend: Backend) -> None:
    payload = {"text": "Ünïcödé", "number": 3, "nothing": None, "list": [1, {"a": True}]}
    token = REQUEST_INFO.set(RequestInfo("request-1", "192.0.2.1"))
    try:
        await add(backend, "greet", payload=payload, lane="a lane", key="a key")
    finally:
        REQUEST_INFO.reset(token)

    job = await claimed(backend)

    assert job == Job(
        id=job.id,
        kind="greet",
        payload=payload,
        lane="a lane",
        key="a key",
        due_at=NOON + 90 * SECOND,
        wanted_at=NOON,
        attempts=1,
        error=None,
        failed_at=None,
        origin=RequestInfo("request-1", "192.0.2.1"),
    )


async def test_a_job_without_a_commit_is_not_stored(backend: Backend) -> None:
    async with backend.storage() as uow:
        await uow.jobs.add(NewJob(kind="greet", due_at=NOON))

    assert await listed(backend) == []


async def test_there_is_one_job_with_a_key(backend: Backend) -> None:
    await add(backend, "one", "two", key="same")
    await add(backend, "three", "four")

    assert [job.kind for job in await listed(backend)] == ["one", "three", "four"]
    assert await backend.queries.of(JobList).keys() == {"same"}


async def test_due_jobs_are_claimed_oldest_first(backend: Backend) -> None:
    await add(backend, "a", "b")

    assert await claim(backend, -1, 30) is None
    jobs = [await claim(backend, 2, 30) for _ in range(3)]

    assert [job and job.kind for job in jobs] == ["a", "b", None]


async def test_a_claim_expires_and_is_counted(backend: Backend) -> None:
    await add(backend, "a")
    first = await claimed(backend, 0, 30)

    assert await claim(backend, 29, 60) is None
    second = await claimed(backend, 30, 60)

    assert (second.id, second.attempts) == (first.id, 2)


async def test_concurrent_claims_return_different_jobs(backend: Backend) -> None:
    await add(backend, *"abcde")

    found = await asyncio.gather(*(claim(backend, 30, 60) for _ in range(9)))

    kinds = [job.kind for job in found if job]
    assert len(kinds) == len(set(kinds))
    while job := await claim(backend, 30, 60):
        kinds.append(job.kind)
    assert sorted(kinds) == list("abcde")


@pytest.mark.parametrize("backend_url", ["postgresql"], indirect=True)
async def test_a_claimed_job_does_not_block_other_claims(backend: Backend) -> None:
    await add(backend, "a", "b")

    async with backend.storage() as uow:
        first = await uow.jobs.claim(LATER, until=LATER + SECOND)
        second = await claimed(backend)
        await uow.commit()

    assert first is not None
    assert (first.kind, second.kind) == ("a", "b")


async def test_a_claim_skips_busy_kinds_and_lanes(backend: Backend) -> None:
    await add(backend, "mail", "call", lane="slow")
    await add(backend, "mail", "call", lane="quick")
    await add(backend, "mail")

    found = []
    for kinds, lanes in (((), ["slow"]), (["call"], ["slow"]), (["mail"], ()), (["mail"], ())):
        job = await claim(backend, 30, 60, kinds=kinds, lanes=lanes)
        found.append((job.kind, job.lane) if job else None)

    assert found == [("mail", "quick"), ("mail", None), ("call", "slow"), ("call", "quick")]


async def test_a_job_is_saved_and_removed_by_the_newest_claim_alone(backend: Backend) -> None:
    await add(backend, "a")
    old = await claimed(backend, 0, 10)
    new = await claimed(backend, 10, 20)
    async with backend.storage() as uow:
        assert not await uow.jobs.save(replace(old, error="late"), claim=old.attempts)
        assert not await uow.jobs.remove(old)
        postponed = replace(new, due_at=LATER, wanted_at=NOON + SECOND, error="no", attempts=0)
        assert await uow.jobs.save(postponed, claim=new.attempts)
        await uow.commit()

    assert await listed(backend) == [postponed]
    assert await claim(backend, 29, 60) is None
    again = await claimed(backend, 30, 60)
    async with backend.storage() as uow:
        assert await uow.jobs.remove(again)
        assert not await uow.jobs.remove(again)
        await uow.commit()
    assert await listed(backend) == []


async def test_a_job_that_was_given_up_is_due_only_when_somebody_says_so(backend: Backend) -> None:
    await add(backend, "a", "b", "c")
    first, second = await claimed(backend), await claimed(backend)
    async with backend.storage() as uow:
        await uow.jobs.save(replace(second, failed_at=LATER, error="no"), claim=1)
        await uow.jobs.save(replace(first, error="not yet"), claim=1)
        await uow.commit()
    assert [job.kind for job in await listed(backend)] == ["b", "c", "a"]
    assert (await claimed(backend)).kind == "c"
    assert await claim(backend, 80, 90) is None

    async with backend.storage() as uow:
        assert await uow.jobs.again(first.id, LATER)
        assert await uow.jobs.again(second.id, LATER)
        assert not await uow.jobs.again(JobId(4711), LATER)
        await uow.commit()

    jobs = [await claimed(backend) for _ in range(2)]
    assert [(job.kind, job.attempts, job.error) for job in jobs] == [
        ("a", 2, "not yet"),
        ("b", 1, "no"),
    ]


async def test_the_next_due_job_is_not_one_that_was_given_up(backend: Backend) -> None:
    next_due = backend.queries.of(JobList).next_due
    assert await next_due() is None
    await add(backend, "a", "b", "c")
    job = await claimed(backend, 0, 90)
    async with backend.storage() as uow:
        await uow.jobs.save(replace(job, failed_at=NOON), claim=1)
        await uow.commit()

    assert await next_due() == NOON + SECOND
    assert await next_due(after=NOON + SECOND) == NOON + 2 * SECOND
    assert await next_due(after=NOON + 2 * SECOND) is None


async def test_the_status_counts_what_should_have_been_done(backend: Backend) -> None:
    status = backend.queries.of(JobList).status
    assert await status(NOON) == JobStatus(0, None, 0)
    await add(backend, "a", "b", "c")
    job = await claimed(backend, 0, 90)

    assert await status(NOON + SECOND) == JobStatus(2, NOON, 0, NOON + SECOND)
    async with backend.storage() as uow:
        await uow.jobs.save(replace(job, failed_at=NOON), claim=1)
        await uow.commit()
    assert await status(NOON + SECOND) == JobStatus(1, NOON + SECOND, 1, NOON + SECOND)


async def test_a_commit_that_adds_a_job_wakes_the_worker(backend: Backend) -> None:
    woken: list[bool] = []
    backend.storage.on_jobs(lambda: woken.append(True))

    await backend.add_user()
    async with backend.storage() as uow:
        await uow.jobs.add(NewJob(kind="a", due_at=NOON))
    assert woken == []
    await add(backend, "a")

    assert woken == [True]


@pytest.mark.parametrize("backend_url", ["sqlite", "postgresql"], indirect=True)
async def test_an_event_adds_a_job_for_each_reaction_with_its_commit(backend: Backend) -> None:
    async def greet(happened: Happened, uow: UnitOfWork) -> None: ...

    async def note(happened: Happened, uow: UnitOfWork) -> None: ...

    assert isinstance(backend, SqlBackend)
    storage = SqlStorage(backend.database, reactions={"user_registered": (greet, note)})
    event = Event.of("user_registered", "user:7", actor_id=None, at=NOON, admin=True)
    for commits in (False, True):
        for each in (event, Event.of("user_renamed", "user:7", actor_id=None, at=NOON)):
            async with storage() as uow:
                uow.record(each)
                if commits:
                    await uow.commit()

    jobs = await listed(backend)
    assert [job.kind for job in jobs] == ["greet", "note"]
    assert [happened_of(job).event for job in jobs] == [event, event]


@pytest.mark.parametrize("backend_url", ["postgresql"], indirect=True)
async def test_other_processes_are_notified_of_a_job(backend: Backend) -> None:
    assert isinstance(backend, SqlBackend)
    heard = asyncio.Event()
    listening = asyncio.create_task(backend.database.listen(CHANNEL, heard.set))

    async with asyncio.timeout(20):
        while not heard.is_set():  # the first ones come before it listens
            await add(backend, "a")
            with suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    await heard.wait()

    heard.clear()
    async with backend.storage() as uow:
        assert await uow.jobs.again((await listed(backend))[0].id, NOON)
        await uow.commit()
    async with asyncio.timeout(20):
        await heard.wait()
    listening.cancel()
    with suppress(asyncio.CancelledError):
        await listening
