"""What follows an event: once, after its commit, with the same id at every attempt."""

from dataclasses import replace

import pytest

from application.ports.jobs import FailedForNow
from application.ports.storage import UnitOfWork
from application.reactions import ANY, Reactions, happened_of
from application.services import Services, build_services
from application.worker import Worker
from domain.events import Concerned, Event, Happened
from domain.posts import PostId
from domain.users import User
from tests.factories import PostContentFactory, UserDraftFactory, UserFactory
from tests.fakes.clock import NOON
from tests.fakes.ports import FakePorts
from tests.fakes.storage import Vote


class Follower:
    """Reacts to written posts with a vote of their author. Raises `trouble` after that."""

    def __init__(self, ports: FakePorts) -> None:
        self.seen: list[Happened] = []
        self.trouble: Exception | None = None
        self.ports = ports

        async def vote(happened: Happened, uow: UnitOfWork) -> None:
            self.seen.append(happened)
            assert happened.event.actor_id is not None
            post_id = PostId(int(happened.event.subject.removeprefix("post:")))
            await uow.votes.add(post_id, happened.event.actor_id)
            if self.trouble:
                raise self.trouble

        async def watch(happened: Happened, _: UnitOfWork) -> None:
            self.seen.append(happened)

        self.reactions: Reactions = {"post_written": (vote,), "post_edited": (vote, watch)}
        ports.storage.reactions = self.reactions
        self.services = build_services(ports)
        self.worker = Worker(self.services, reactions=self.reactions, jitter=lambda: 0.0)

    @property
    def votes(self) -> list[Vote]:
        return list(self.ports.storage.committed.votes.values())


@pytest.fixture
def follower(ports: FakePorts) -> Follower:
    return Follower(ports)


@pytest.fixture
async def anna(follower: Follower) -> User:
    user = await follower.services.accounts.register(UserDraftFactory.build(), "correct horse")
    assert follower.ports.storage.committed.jobs == {}, "nothing reacts to a registration"
    return user


async def write(services: Services, author: User) -> PostId:
    return (await services.posts.write(PostContentFactory.build(), author)).post.id


async def test_a_reaction_changes_what_it_wants_after_the_commit(
    follower: Follower, anna: User
) -> None:
    post_id = await write(follower.services, anna)
    assert follower.votes == []

    assert await follower.worker.do_next()
    assert not await follower.worker.do_next()

    assert follower.votes == [Vote(post_id, anna.id)]
    assert follower.ports.storage.committed.jobs == {}


async def test_a_reaction_that_failed_has_changed_nothing_and_runs_again_with_the_same_id(
    follower: Follower, anna: User, ports: FakePorts
) -> None:
    await write(follower.services, anna)
    follower.trouble = FailedForNow("not yet")
    await follower.worker.do_next()
    assert follower.votes == []
    (job,) = ports.storage.committed.jobs.values()
    assert (job.kind, job.error) == ("vote", "not yet")

    follower.trouble = None
    ports.clock.now = job.due_at
    await follower.worker.do_next()

    assert len(follower.votes) == 1
    first, second = follower.seen
    assert first == second


async def test_a_change_that_is_rolled_back_is_followed_by_nothing(
    follower: Follower, anna: User, ports: FakePorts
) -> None:
    async with ports.storage() as uow:
        uow.record(Event.of("post_written", "post:7", actor_id=anna.id, at=NOON))

    assert not await follower.worker.do_next()


async def test_each_reaction_to_an_event_is_a_job_of_its_own(
    follower: Follower, anna: User, ports: FakePorts
) -> None:
    post_id = await write(follower.services, anna)
    await follower.worker.do_next()
    async with ports.storage() as uow:
        uow.record(Event.of("post_edited", f"post:{post_id}", actor_id=anna.id, at=NOON))
        await uow.commit()
    follower.trouble = FailedForNow("not yet")

    assert [await follower.worker.do_next() for _ in range(3)] == [True, True, False]

    (job,) = ports.storage.committed.jobs.values()
    assert job.kind == "vote"
    assert len({happened.id for happened in follower.seen[1:]}) == 1


async def test_nothing_follows_when_what_it_would_change_is_gone(
    follower: Follower, anna: User
) -> None:
    post_id = await write(follower.services, anna)
    await follower.services.posts.delete(post_id, anna)

    assert await follower.worker.do_next()

    assert follower.votes == []
    assert follower.ports.storage.committed.jobs == {}


async def test_the_changes_of_a_process_that_lost_its_job_are_not_made(
    follower: Follower, anna: User, ports: FakePorts
) -> None:
    await write(follower.services, anna)
    async with ports.storage() as uow:
        job = await uow.jobs.claim(NOON, until=NOON)
        await uow.commit()
    assert job is not None

    stale = replace(job, attempts=job.attempts - 1)
    await follower.worker._kinds.of("vote").work(follower.services, stale)
    assert follower.votes == []
    await follower.worker.do_next()

    assert len(follower.votes) == 1


async def test_a_job_has_all_of_its_event_and_only_a_reaction_by_name_whom_it_concerns(
    ports: FakePorts,
) -> None:
    async def follow(happened: Happened, uow: UnitOfWork) -> None: ...

    async def watch(happened: Happened, uow: UnitOfWork) -> None: ...

    event = Event.of("role_changed", "user:7", actor_id=None, at=NOON, role="admin", old=True)
    anna = UserFactory.build()
    ports.storage.reactions = {"role_changed": (follow,), ANY: (watch,)}
    async with ports.storage() as uow:
        uow.record(event, concerned=anna)
        await uow.commit()

    by_name, by_any = ports.storage.committed.jobs.values()
    assert (by_name.kind, by_any.kind) == ("follow", "watch")
    assert by_name.due_at == by_any.due_at == NOON
    assert happened_of(by_name) == Happened(
        id=happened_of(by_any).id, event=event, concerned=Concerned(anna.id, anna.email)
    )
    assert happened_of(by_any).event == event
    assert happened_of(by_any).concerned is None
