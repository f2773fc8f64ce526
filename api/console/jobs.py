"""The page of jobs, for admins."""

from typing import Annotated

from fastapi import Path, Request, Response

from api.console.rendering import go, page
from api.console.routing import admin_pages
from api.dependencies import UseCases
from api.ids import Id
from application.jobs import JobService
from application.ports.jobs import JobId
from application.services import Services
from domain.errors import DomainError

pages = admin_pages()

SHOWN_MAX = 100


@pages.get("/console/jobs")
async def show_jobs(request: Request, use_cases: UseCases) -> Response:
    return await _jobs(request, use_cases)


async def _jobs(
    request: Request, use_cases: Services, error: DomainError | None = None
) -> Response:
    jobs = await use_cases.of(JobService).jobs(SHOWN_MAX + 1)
    return page(
        request,
        "jobs.html",
        error=error,
        jobs=jobs[:SHOWN_MAX],
        has_more=len(jobs) > SHOWN_MAX,
    )


@pages.post("/console/jobs/{job_id}/again")
async def run_again(
    job_id: Annotated[Id, Path()], request: Request, use_cases: UseCases
) -> Response:
    try:
        await use_cases.of(JobService).again(JobId(job_id))
    except DomainError as error:
        return await _jobs(request, use_cases, error)
    return go(request, "/console/jobs", done="job")
