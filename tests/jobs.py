"""Jobs as tests do them: one at a time, with pauses that are not random."""

from application.services import Services
from application.worker import Worker


def worker_of(services: Services) -> Worker:
    return Worker(services, jitter=lambda: 0.0)


async def do_next(services: Services) -> bool:
    """Do the job that has been due longest. Returns whether there was one."""
    return await worker_of(services).do_next()
