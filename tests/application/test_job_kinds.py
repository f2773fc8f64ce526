"""The kinds of jobs: where they come from, and one that nobody knows."""

import pytest

from application.job_kinds import MAIL, JobKinds
from application.jobs import Kind, daily
from application.ports.jobs import FailedForNow, Job, JobId
from application.ports.storage import UnitOfWork
from application.request_info import RequestInfo
from application.services import Services
from domain.events import Happened
from tests.fakes.clock import NOON


async def work(_: Services, __: Job) -> None: ...


async def follow(_: Happened, __: UnitOfWork) -> None: ...


async def tidy(_: Services) -> None: ...


JOB = Job(
    id=JobId(1),
    kind="of_tomorrow",
    payload={},
    lane=None,
    key=None,
    due_at=NOON,
    wanted_at=NOON,
    attempts=1,
    error=None,
    failed_at=None,
    origin=RequestInfo(),
)


def test_there_are_mails_reactions_regular_work_and_the_kinds_of_the_concepts() -> None:
    kinds = JobKinds(
        [Kind(name="work", work=work)], [daily(tidy)], {"a": (follow,), "b": (follow,)}
    )

    assert {"mail", "work", "tidy", "follow", "deliver_webhook"} <= set(kinds.names)
    assert kinds.of("mail") is MAIL


def test_two_kinds_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="same name"):
        JobKinds([Kind(name="mail", work=work)], (), {})


async def test_a_job_of_another_release_fails_for_now(services: Services) -> None:
    unknown = JobKinds((), (), {}).of("of_tomorrow")

    assert unknown.name == "of_tomorrow"
    with pytest.raises(FailedForNow):
        await unknown.work(services, JOB)
