"""What an operator sees of jobs and does to them."""

from datetime import time, timedelta

import pytest

from application.jobs import JobNotFound, JobService, daily, hourly
from application.ports.jobs import JobId
from application.services import Services
from domain.one_time_codes import Purpose
from tests.factories import UserDraftFactory
from tests.fakes.clock import NOON
from tests.fakes.ports import FakePorts
from tests.jobs import do_next


async def test_a_waiting_job_can_be_hurried(ports: FakePorts, services: Services) -> None:
    jobs = JobService(services.ports)
    later = NOON + timedelta(days=1)
    async with ports.storage() as uow:
        await uow.outbox.add(Purpose.PASSWORD_RESET, "anna@example.com", later)
        await uow.commit()
    assert not await do_next(services)
    (job,) = await jobs.jobs()
    assert (job.kind, job.state, job.due_at) == ("mail", "waiting", later)

    await jobs.again(job.id)

    assert await do_next(services)
    assert await jobs.jobs() == []


async def test_a_job_that_is_not_there_cannot_be_done_again(services: Services) -> None:
    with pytest.raises(JobNotFound):
        await JobService(services.ports).again(JobId(4711))


async def test_regular_work_has_the_name_of_its_function(services: Services) -> None:
    async def tidy(services: Services) -> None:
        await services.accounts.register(UserDraftFactory.build(), "correct horse")

    assert (daily(tidy).name, hourly(tidy).name) == ("tidy", "tidy")
    assert daily(tidy, at=time(15)).next(NOON) == NOON.replace(hour=15, minute=0, microsecond=0)
    with pytest.raises(ValueError, match="no name for a job"):
        daily(lambda _: tidy(services))
