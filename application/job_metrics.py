"""Metrics of the jobs, which all processes share, and of one process' failures."""

from collections import Counter
from collections.abc import Collection, Sequence
from functools import partial

from application.ports.adapter import Reading
from application.ports.clock import Clock
from application.ports.jobs import JobStatus


class JobMetrics:
    """`kinds` are the names of all kinds of jobs. A worker keeps `failures` and `status`."""

    def __init__(self, kinds: Collection[str], clock: Clock) -> None:
        self._kinds = kinds
        self._clock = clock
        self.failures: Counter[str] = Counter()
        """Failed attempts of this process, by kind."""
        self.status = JobStatus(0, None, 0)

    def readings(self) -> Sequence[Reading]:
        return (
            Reading(
                "shared gauge",
                "gatepost_jobs_waiting",
                "Jobs that are due, those that have failed and are tried again among them.",
                lambda: self.status.waiting,
            ),
            Reading(
                "shared gauge",
                "gatepost_jobs_oldest_seconds",
                "How long the oldest of these jobs has waited.",
                self._oldest_age,
            ),
            Reading(
                "shared gauge",
                "gatepost_jobs_failed",
                "Jobs that are not tried again by themselves.",
                lambda: self.status.failed,
            ),
            *(
                Reading(
                    "counter",
                    "gatepost_job_failures",
                    "Attempts to do a job that failed.",
                    partial(self.failures.__getitem__, kind),
                    labels={"kind": kind},
                )
                for kind in self._kinds
            ),
        )

    def _oldest_age(self) -> int:
        oldest = self.status.oldest
        return int((self._clock() - oldest).total_seconds()) if oldest else 0
