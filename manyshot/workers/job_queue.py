"""Jobs that wait for workers, by checkpoint, and what becomes of those whose worker has died."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from manyshot.scoring_plan import ScoringJob

MOST_DEATHS = 3
"""Workers that a job may take with it before it is given up."""


@dataclass(frozen=True)
class Queued:
    """A job, and how many workers have died over it."""

    job: ScoringJob
    deaths: int = 0


@dataclass(frozen=True)
class FailedJob:
    """A job that was given up, and the sentence that says why."""

    job: ScoringJob
    why: str


class JobQueue:
    """Jobs in order. Towards the end, when some workers would get none, jobs are cut in halves.

    Args:
        jobs: what is to be done.
        workers: how many take jobs.

    Attributes:
        failed: jobs that were given up.
    """

    def __init__(self, jobs: Iterable[ScoringJob], workers: int) -> None:
        self._waiting = deque(Queued(job) for job in jobs)
        self._workers = workers
        self.failed: list[FailedJob] = []

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def take(self, last: ScoringJob | None = None) -> Queued | None:
        """The next job of a worker, or None.

        Args:
            last: what the worker did last: a job of the same checkpoint needs no other weights.
        """
        if not self._waiting:
            return None
        same = (queued for queued in self._waiting if last and _same_checkpoint(queued.job, last))
        taken = next(same, self._waiting[0])
        self._waiting.remove(taken)
        benchmarks = len(taken.job.records)
        if len(self._waiting) + 1 < self._workers and benchmarks > 1:
            first, rest = taken.job.parts((benchmarks + 1) // 2)
            self._waiting.appendleft(Queued(rest, taken.deaths))
            return Queued(first, taken.deaths)
        return taken

    def died(self, queued: Queued, why: str) -> None:
        """Queue the benchmarks of a job again whose worker has died, each by itself, or give it up."""
        deaths = queued.deaths + 1
        if deaths >= MOST_DEATHS:
            self.failed.append(FailedJob(queued.job, f"{deaths} workers died over it, the last so: {why}"))
        else:
            self._queue_singly(queued.job, deaths)

    def refused(self, queued: Queued, why: str) -> None:
        """Queue the benchmarks of a job that a worker refused each by itself, or give the one up."""
        if len(queued.job.records) == 1:
            self.failed.append(FailedJob(queued.job, why))
        else:
            self._queue_singly(queued.job, queued.deaths)

    def _queue_singly(self, job: ScoringJob, deaths: int) -> None:
        while job.records:
            one, job = job.parts(1)
            self._waiting.append(Queued(one, deaths))


def _same_checkpoint(one: ScoringJob, other: ScoringJob) -> bool:
    return one.checkpoint.identity == other.checkpoint.identity
